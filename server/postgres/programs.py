"""Runs PostgreSQL's programs on one cluster. Only the supervisor starts them."""

import contextlib
import ctypes
import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

if sys.platform != "win32":
    import pwd

MAJOR = "18"
PORT = "5432"  # a part of the socket's name; TCP is off
SOCKET = f".s.PGSQL.{PORT}"
OPTIONS = {
    "listen_addresses": "",
    "port": PORT,
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
}
ENOUGH_BYTES = 1024 * 1024  # free disk space for a log
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


class PostgresError(RuntimeError):
    """PostgreSQL cannot run. The message is the reason."""


class LaunchConfig(NamedTuple):
    """The paths and the account of a PostgreSQL server."""

    binaries: str
    home: str  # holds the cluster, the locks and the log
    sockets: str
    lock_fd: int  # supervisor.lock, locked
    uid: int | None  # the account to switch to, None to stay
    gid: int | None
    namespace: bool  # stay root, but appear as an ordinary account in a user namespace

    @property
    def cluster(self) -> Path:
        """The folder of the database cluster."""
        return Path(self.home, "cluster")

    @property
    def log(self) -> Path:
        """The log file."""
        return Path(self.home, "postgres.log")


def postmaster(cluster: Path) -> tuple[int, str]:
    """Return the PID and status in postmaster.pid; (0, "") if it is missing or damaged."""
    try:
        lines = (cluster / "postmaster.pid").read_bytes().split(b"\n")
        return int(lines[0]), b"".join(lines[7:8]).strip().decode()
    except (OSError, ValueError):
        return 0, ""


def log_reason(log: Path) -> str:
    """Return the first error in the log, which causes the later ones, else its last line.

    If the log is empty, return the error of a full disk if that is the reason.
    """
    try:
        lines = log.read_bytes()[-65536:].decode(errors="replace").splitlines()
    except OSError as error:
        return str(error)
    # Lines about clients rejected during the startup are no reason.
    written = [line for line in lines if line.strip() and "the database system is" not in line]
    if not written and _is_full(log.parent):
        return os.strerror(errno.ENOSPC)
    errors = [line for line in written if re.search(r"FATAL|PANIC|ERROR|error: ", line)]
    reason = (errors or written[-1:] or ["the log names no reason"])[0]
    return re.sub(r"^.*?(?=FATAL|PANIC|ERROR)", "", reason).strip()


def _is_full(folder: Path) -> bool:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < ENOUGH_BYTES


def servers_on(cluster: Path) -> list[int]:
    """Return the PIDs of PostgreSQL processes that run on this cluster."""
    if sys.platform != "linux":
        pid = postmaster(cluster)[0]
        ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        output = subprocess.run(ps, capture_output=True, check=False).stdout if pid > 1 else b""  # noqa: S603 - a fixed command and a number
        return [pid] if b"postgres" in output and os.fsencode(cluster) in output else []
    here, found = cluster.stat(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "exe").readlink().name.startswith("postgres") and os.path.samestat(
                here, (process / "cwd").stat()
            ):
                found.append(int(process.name))
        except OSError:  # it has ended, or this account may not look
            continue
    return found


def end_leftovers(cluster: Path) -> None:
    """Stop servers that a killed supervisor or postmaster left, and remove a stale PID file.

    PostgreSQL refuses to start while any process has the PID in that file.
    """
    for number, seconds in ((signal.SIGINT, 5), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
        left = servers_on(cluster)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)
        until = time.monotonic() + seconds
        while left and time.monotonic() < until:
            time.sleep(0.01)
            left = servers_on(cluster)
        if not left:
            break
    pid = postmaster(cluster)[0]
    try:
        if pid > 0:
            os.kill(pid, 0)
    except ProcessLookupError:
        return  # PostgreSQL handles this case and checks for orphans
    except PermissionError:
        pass
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def launch(config: LaunchConfig) -> subprocess.Popen[bytes]:
    """Start the server; `postmaster` returns its status."""
    end_leftovers(config.cluster)
    for socket in Path(config.sockets).glob(".s.PGSQL.*"):
        socket.unlink()  # the lock file of a socket blocks the start like a PID file
    folder = '"' + config.sockets.replace('"', '""') + '"'  # a list, with SQL-like quoting
    options = OPTIONS | {"unix_socket_directories": folder}
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return _spawn(config, "postgres", "-D", str(config.cluster), *arguments)


def run(config: LaunchConfig, *command: str, feed: bytes = b"") -> None:
    """Run a program with `feed` as its input. Raises PostgresError if it fails."""
    process = _spawn(config, *command, stdin=subprocess.PIPE)
    process.communicate(feed)
    if process.returncode != 0:
        raise PostgresError(log_reason(config.log))


def _spawn(
    config: LaunchConfig, program: str, *arguments: str, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our binaries
        [f"{config.binaries}/{program}", *arguments],
        stdin=stdin,
        stdout=sys.stderr.fileno(),  # the log
        preexec_fn=_child_setup(config) if sys.platform == "linux" else None,  # noqa: PLW1509 - the other thread only waits for a lock
        user=config.uid,
        group=config.gid,
        extra_groups=None if config.uid is None else [],
    )


def _child_setup(config: LaunchConfig) -> Callable[[], None]:
    """Return the setup of a child process: it runs as the new account, before exec."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent, uid, gid = os.getpid(), os.geteuid(), os.getegid()
    inner = (
        pwd.getpwnam("nobody") if config.namespace else None
    )  # initdb requires an account with a name

    def setup() -> None:
        if inner:
            if libc.unshare(CLONE_NEWUSER) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            Path("/proc/self/setgroups").write_text("deny", "ascii")
            Path("/proc/self/uid_map").write_text(f"{inner.pw_uid} {uid} 1", "ascii")
            Path("/proc/self/gid_map").write_text(f"{inner.pw_gid} {gid} 1", "ascii")
        # The server must end with its supervisor. Last, as a change of credentials resets it.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return setup
