"""Runs one PostgreSQL server for as long as any process uses its data directory.

`server.postgres.embedded` starts it; it has only the standard library. Every user holds a shared
lock on `users.lock`. Once the last user has ended, in whatever way, the kernel grants the exclusive
lock to the supervisor, which then stops the server. `supervisor.lock` is locked while it runs.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from server.postgres import programs
from server.postgres.creation import create_cluster

# systemd sends SIGTERM to the users and to the supervisor at once. The users need the server until
# their requests are complete, a little more than GRACE_SECONDS of server.process.server.
TERM_GRACE = 15.0
STEADY = 2.0  # seconds: a server that lived longer is restarted without delay
MAX_DELAY = 2.0
NO_NAMESPACE = (
    "PostgreSQL refuses to run as root, and root may not create a user namespace here:"
    " run as an ordinary account"
)
MAX_LOG_BYTES = 16 * 1024 * 1024


class PostgresSupervisor:
    """Runs the server in the main thread; a second thread waits for the last user to end."""

    def __init__(self, config: programs.LaunchConfig) -> None:
        self._config = config
        self._unused = False
        self._stop_at = float("inf")
        self._reported = False
        self._woken, self._waker = os.pipe()

    def run(self) -> None:
        """Return when the server is no longer needed or cannot run."""
        try:
            self._open_log()
            self._listen()
            create_cluster(self._config)
            self._keep_running()
        except subprocess.SubprocessError:  # the setup of the child failed; Python hides the reason
            self._report(NO_NAMESPACE)
        except (programs.PostgresError, OSError) as error:
            self._report(str(error))

    def _keep_running(self) -> None:
        delay = 0.0
        while not self._done():
            started = time.monotonic()
            server = programs.launch(self._config)
            if self._becomes_ready(server):
                self._report(None)
                self._watch(server)
            elif not (self._reported or self._done()):
                raise programs.PostgresError(programs.log_reason(self._config.log))
            if time.monotonic() - started > STEADY:
                delay = 0.0
            self._pause(delay)
            delay = min(delay * 2 or 0.1, MAX_DELAY)
        with contextlib.suppress(OSError):
            Path(self._config.sockets).rmdir()

    def _becomes_ready(self, server: subprocess.Popen[bytes]) -> bool:
        while server.poll() is None:
            pid, status = programs.postmaster(self._config.cluster)
            if pid == server.pid and status == "ready":
                return True
            if self._done():
                self._shut_down(server)
            self._pause(0.005)
        return False

    def _watch(self, server: subprocess.Popen[bytes]) -> None:
        """Return when the server has ended, by itself or because it has no user."""
        while server.poll() is None:
            if self._done():
                self._shut_down(server)
            elif os.fstat(sys.stderr.fileno()).st_size > MAX_LOG_BYTES:
                os.ftruncate(sys.stderr.fileno(), 0)
            self._pause(600)

    def _shut_down(self, server: subprocess.Popen[bytes]) -> None:
        for number, seconds in ((signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            server.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(seconds)
                return

    def _done(self) -> bool:
        return self._unused or time.monotonic() >= self._stop_at

    def _pause(self, seconds: float) -> None:
        """Wait until a child ends, a signal arrives or the last user ends; at most `seconds`."""
        limit = 0 if self._done() else max(min(seconds, self._stop_at - time.monotonic()), 0)
        if select.select([self._woken], [], [], limit)[0]:
            os.read(self._woken, 4096)

    def _open_log(self) -> None:
        """Start a new log and rename the last one; never follow a link."""
        log = self._config.log
        with contextlib.suppress(FileNotFoundError):
            log.rename(log.with_suffix(".log.1"))
        log_fd = os.open(log, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        os.dup2(log_fd, sys.stderr.fileno())
        os.close(log_fd)

    def _listen(self) -> None:
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_terminate)
        threading.Thread(target=self._await_last_user, daemon=True).start()

    def _on_terminate(self, *_: object) -> None:
        self._stop_at = min(self._stop_at, time.monotonic() + TERM_GRACE)

    def _await_last_user(self) -> None:
        users = os.open(f"{self._config.home}/users.lock", os.O_RDWR)
        start = os.open(f"{self._config.home}/start.lock", os.O_RDWR)
        while True:
            fcntl.flock(users, fcntl.LOCK_EX)
            try:
                fcntl.flock(start, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break  # held to the end: a new user waits, and then starts another supervisor
            except BlockingIOError:  # a user is starting or stopping right now
                fcntl.flock(users, fcntl.LOCK_UN)
                time.sleep(0.01)
        self._unused = True
        os.write(self._waker, b"u")

    def _report(self, error: str | None) -> None:
        """Report success (None) or an error to the starting process, once."""
        if error:
            with contextlib.suppress(OSError):  # a full disk must not prevent the report
                sys.stderr.write(f"supervisor: {error}\n")
        if self._reported:
            return
        self._reported = True
        with contextlib.suppress(OSError):  # the starting process may have been killed
            os.write(1, (error or "ready").encode(errors="replace"))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def main() -> None:
    """Detach from the starting process and run the supervisor."""
    config = programs.LaunchConfig(*json.loads(sys.argv[-1]))
    os.set_inheritable(config.lock_fd, False)
    if os.fork():
        os._exit(0)  # the child is adopted and reaped by init
    os.umask(0o077)
    PostgresSupervisor(config).run()
