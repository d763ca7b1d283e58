"""The parent process: starts the workers, restarts those that die, and stops them together."""

import asyncio
import contextlib
import pickle
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from server.config.settings import Settings
from server.postgres.embedded import EmbeddedPostgres
from server.process.connection_balancer import ConnectionBalancer
from server.process.control_protocol import WorkerConfig
from server.process.server import GRACE_SECONDS, Signals

log = structlog.get_logger("coingraph.workers")

_ROOT = Path(__file__).resolve().parents[2]
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from server.process.worker import main; main()"
)
_STEADY_SECONDS = 10.0  # a worker that lived longer is restarted without a growing delay
_MIN_PAUSE_SECONDS = 0.1
_MAX_PAUSE_SECONDS = 10.0
_KILL_AFTER_SECONDS = GRACE_SECONDS + 3


class WorkersFailedError(Exception):
    """Every worker ended before it could serve. The message is one line with the cause."""


class WorkerSupervisor:
    """Runs `settings.workers` processes on the listeners until a signal stops them."""

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        embedded: EmbeddedPostgres | None,
        signals: Signals,
    ) -> None:
        self._settings = settings
        self._embedded = embedded
        self._signals = signals
        self._balancer = ConnectionBalancer(listeners, settings.workers)
        self._running: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()
        self._served = False
        self._failed: set[int] = set()

    async def run(self) -> None:
        """Return once all workers have ended. Raises WorkersFailedError."""
        tasks = [asyncio.create_task(self._keep_running(n)) for n in range(self._settings.workers)]
        with self._signals_handled():
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                self._stop(signal.SIGTERM)
                await self._all_ended(tasks)
        for task in tasks:
            task.result()

    @contextlib.contextmanager
    def _signals_handled(self) -> Iterator[None]:
        """Stop at a signal; a second one forces the exit."""
        loop = asyncio.get_running_loop()
        names = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as `nohup` sets it
            names.append(signal.SIGHUP)
        for name in names:
            loop.add_signal_handler(name, self._stop, name)
        self._signals.handed_over = True
        try:
            yield
        finally:
            for name in names:
                loop.remove_signal_handler(name)
            self._signals.install()

    def _stop(self, name: signal.Signals) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            self._balancer.close()
            self._send(signal.SIGTERM)
        elif name != signal.SIGHUP:  # a closed terminal may send several
            self._send(signal.SIGINT)

    def _send(self, name: signal.Signals) -> None:
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(name)

    async def _all_ended(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        _, late = await asyncio.wait(tasks, timeout=_KILL_AFTER_SECONDS)
        if late:
            log.error("workers that do not end are killed", workers=len(late))
            self._send(signal.SIGKILL)
            await asyncio.wait(late)

    async def _keep_running(self, number: int) -> None:
        """Run one worker after another, with growing delays if they die early."""
        pause = 0.0
        while not self._stopping.is_set():
            started = time.monotonic()
            end = await self._run_one(leads=number == 0)
            if self._stopping.is_set():
                return
            self._judge(number, end)
            lived = time.monotonic() - started
            pause = min(2 * pause or _MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
            pause = _MIN_PAUSE_SECONDS if lived > _STEADY_SECONDS else pause
            log.error("a worker is restarted", because=end, pause_seconds=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    def _judge(self, number: int, end: str) -> None:
        self._failed.add(number)
        if not self._served and len(self._failed) == self._settings.workers:
            raise WorkersFailedError(
                f"No worker could begin to serve ({end}); the lines above say why."
            )

    async def _run_one(self, *, leads: bool) -> str:
        """Run a worker to its end; return how it ended, for the log."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            process: asyncio.subprocess.Process | None = None

            def kill_hung() -> None:
                if process is not None and process.returncode is None:
                    log.error("a worker hangs and is killed", worker=process.pid)
                    process.kill()

            balancing = asyncio.create_task(
                self._balancer.serve_worker(ours, self._on_ready, kill_hung)
            )
            try:
                with theirs:
                    process = await self._start(theirs)
                return await self._await_end(process, WorkerConfig(self._settings, leads))
            except OSError as error:
                return f"a process could not be started: {error}"
            finally:
                await balancing

    async def _await_end(self, process: asyncio.subprocess.Process, config: WorkerConfig) -> str:
        assert process.stdin  # noqa: S101 - a pipe, see `_start`
        process.stdin.write(pickle.dumps(config))
        self._running.add(process)
        if self._stopping.is_set():  # set while the process was being started
            process.terminate()
        status = await process.wait()
        self._running.remove(process)
        how = f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
        return f"process {process.pid} ended {how}"

    async def _start(self, control: socket.socket) -> asyncio.subprocess.Process:
        passed = [control.fileno()]
        if self._embedded and self._embedded.lease is not None:
            # Inherited: if this process is killed, the database outlives the workers.
            passed.append(self._embedded.lease)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", _BOOT, str(_ROOT), str(control.fileno())),
            stdin=asyncio.subprocess.PIPE,  # ends with this process: see control_protocol
            pass_fds=passed,
            process_group=0,  # a terminal's Ctrl-C goes to the parent, which signals each once
        )

    def _on_ready(self) -> None:
        self._served = True
