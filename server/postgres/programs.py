"""PostgreSQL's own programs, run on one cluster. Only the supervisor starts them."""

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
PORT = "5432"  # only a part of the socket's name: there is no TCP
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
ENOUGH_BYTES = 1024 * 1024  # for a log
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


class PostgresError(RuntimeError):
    """PostgreSQL cannot run; the text says why."""


class LaunchConfig(NamedTuple):
    """What to run, where, and as whom."""

    binaries: str
    home: str  # holds the cluster, the locks and the log
    sockets: str
    lock_fd: int  # supervisor.lock, locked
    uid: int | None  # the account to switch to, where it is not ours
    gid: int | None
    namespace: bool  # stay root, but appear as an ordinary account in a user namespace

    @property
    def cluster(self) -> Path:
        return Path(self.home, "cluster")

    @property
    def log(self) -> Path:
        return Path(self.home, "postgres.log")


def postmaster(cluster: Path) -> tuple[int, str]:
    """The PID and status that postmaster.pid gives: (0, "") when missing, empty or damaged."""
    try:
        lines = (cluster / "postmaster.pid").read_bytes().split(b"\n")
        return int(lines[0]), b"".join(lines[7:8]).strip().decode()
    except (OSError, ValueError):
        return 0, ""


def log_reason(log: Path) -> str:
    """The log's first error, as later ones follow from it; or else its last line.

    A full disk takes no line, so its silence is looked into.
    """
    try:
        lines = log.read_bytes()[-65536:].decode(errors="replace").splitlines()
    except OSError as error:
        return str(error)
    # Clients that are turned away while the server is not up yet are no reason.
    told = [line for line in lines if line.strip() and "the database system is" not in line]
    if not told and _is_full(log.parent):
        return os.strerror(errno.ENOSPC)
    errors = [line for line in told if re.search(r"FATAL|PANIC|ERROR|error: ", line)]
    reason = (errors or told[-1:] or ["it said nothing"])[0]
    return re.sub(r"^.*?(?=FATAL|PANIC|ERROR)", "", reason).strip()


def _is_full(folder: Path) -> bool:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < ENOUGH_BYTES


def servers_on(cluster: Path) -> list[int]:
    """The PIDs of PostgreSQL processes verified to work on this cluster."""
    if sys.platform != "linux":
        pid = postmaster(cluster)[0]
        ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        told = subprocess.run(ps, capture_output=True, check=False).stdout if pid > 1 else b""  # noqa: S603 - a fixed command and a number
        return [pid] if b"postgres" in told and os.fsencode(cluster) in told else []
    here, found = cluster.stat(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "exe").readlink().name.startswith("postgres") and os.path.samestat(
                here, (process / "cwd").stat()
            ):
                found.append(int(process.name))
        except OSError:  # gone meanwhile, or not ours to look at
            continue
    return found


def end_leftovers(cluster: Path) -> None:
    """Ends servers that a killed supervisor or postmaster left, and clears a misleading PID file.

    PostgreSQL itself refuses to start while any process has the PID that the file names.
    """
    for number, patience in ((signal.SIGINT, 5), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
        left = servers_on(cluster)
        for pid in left:
            os.kill(pid, number)
        until = time.monotonic() + patience
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
        return  # PostgreSQL handles this case, and looks for orphans while at it
    except PermissionError:
        pass
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def launch(config: LaunchConfig) -> subprocess.Popen[bytes]:
    """Starts the server; `postmaster` tells when it is ready."""
    end_leftovers(config.cluster)
    for socket in Path(config.sockets).glob(".s.PGSQL.*"):
        socket.unlink()  # a socket's lock file blocks the start the way a PID file does
    folder = '"' + config.sockets.replace('"', '""') + '"'  # a list, with SQL-like quoting
    options = OPTIONS | {"unix_socket_directories": folder}
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return _spawn(config, "postgres", "-D", str(config.cluster), *arguments)


def run(config: LaunchConfig, *command: str, feed: bytes = b"") -> None:
    process = _spawn(config, *command, stdin=subprocess.PIPE)
    process.communicate(feed)
    if process.returncode != 0:
        raise PostgresError(log_reason(config.log))


def _spawn(
    config: LaunchConfig, program: str, *arguments: str, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own binaries
        [f"{config.binaries}/{program}", *arguments],
        stdin=stdin,
        stdout=sys.stderr.fileno(),  # the log
        preexec_fn=_child_setup(config) if sys.platform == "linux" else None,  # noqa: PLW1509 - our other thread only waits for a lock
        user=config.uid,
        group=config.gid,
        extra_groups=None if config.uid is None else [],
    )


def _child_setup(config: LaunchConfig) -> Callable[[], None]:
    """What a child does, already switched to its account, before it becomes PostgreSQL."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent, uid, gid = os.getpid(), os.geteuid(), os.getegid()
    inner = (
        pwd.getpwnam("nobody") if config.namespace else None
    )  # initdb wants an account with a name

    def setup() -> None:
        if inner:
            if libc.unshare(CLONE_NEWUSER) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            Path("/proc/self/setgroups").write_text("deny", "ascii")
            Path("/proc/self/uid_map").write_text(f"{inner.pw_uid} {uid} 1", "ascii")
            Path("/proc/self/gid_map").write_text(f"{inner.pw_gid} {gid} 1", "ascii")
        # Last, as a change of credentials undoes it: no supervisor, no server.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return setup
