"""The folders, owners and locks of the data directory."""

import contextlib
import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from server.postgres import ownership
from server.postgres.programs import MAJOR, SOCKET, PostgresError, end_leftovers

if sys.platform != "win32":
    import fcntl
    import pwd

SOCKET_PATH_BYTES = 103  # the smallest sun_path among the supported systems: macOS's


class ClusterOwner(NamedTuple):
    """The account that owns the cluster and runs PostgreSQL."""

    uid: int
    gid: int
    namespace: bool = False


def socket_dir(home: Path) -> Path:
    """Return the folder of the socket: in `home`, if its path is valid for a socket and a URL.

    Otherwise a folder in /tmp. TMPDIR may differ between users of the server, so it is not used.
    """
    inside = home / "socket"
    fits = len(os.fsencode(inside / SOCKET)) <= SOCKET_PATH_BYTES
    if fits and str(inside).isprintable() and "," not in str(inside):
        return inside
    return Path("/tmp", "coingraph-" + hashlib.sha256(os.fsencode(home)).hexdigest()[:16])  # noqa: S108 - make_private verifies it


def make_private(folder: Path, account: ClusterOwner) -> None:
    """Create `folder` with mode 0700 for the account, or verify an existing one.

    Raises PostgresError.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {account.uid, os.geteuid()}:
        raise PostgresError(f"{folder} is not a folder of ours: move it away")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise PostgresError(f"{folder} is open to other accounts: run chmod 700 on it")
    if found.st_uid != account.uid:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def check(home: Path) -> None:
    """Raise PostgresError if this account or this PostgreSQL version cannot use the cluster."""
    cluster = home / "cluster"
    owner = home.stat().st_uid
    if os.geteuid() not in {0, owner}:
        raise PostgresError(f"{home} belongs to the account {_name(owner)}: run as that account")
    if not cluster.exists():
        return
    if os.geteuid() not in {0, cluster.stat().st_uid}:
        raise PostgresError(f"{cluster} belongs to {_name(cluster.stat().st_uid)}: run as that")
    version = cluster / "PG_VERSION"
    major = version.read_text("ascii", "replace").strip() if version.exists() else ""
    if major != MAJOR:
        what = f"made by PostgreSQL {major}, not {MAJOR}" if major else "not a database cluster"
        raise PostgresError(f"{cluster} is {what}: move it away")


def account(home: Path, program: Path) -> ClusterOwner:
    """Return the account that runs PostgreSQL: the owner of the cluster.

    PostgreSQL refuses to run as root. On root's first start the owner is an account of its own, if
    that can access the folder and the programs; else root in a user namespace; else, if root in a
    namespace has no access either, the owner of the folder that blocks it. Raises PostgresError.
    """
    if os.geteuid() != 0:
        return ClusterOwner(os.geteuid(), os.getegid())
    cluster = home / "cluster"
    if ownership.is_nobodys(home):
        uid = ownership.own_uid(home)
        closed = _closed(home, ClusterOwner(uid, uid)) or _closed(program, ClusterOwner(uid, uid))
        if cluster.exists():
            end_leftovers(cluster)
        if not closed and ownership.take_over(home, socket_dir(home), uid):
            return ClusterOwner(uid, uid)
    found = (cluster if cluster.exists() else home).stat()
    if found.st_uid != 0:
        return ClusterOwner(found.st_uid, found.st_gid)
    if not cluster.exists():
        uid = ownership.own_uid(home)
        own = ClusterOwner(uid, uid)
        if not (_closed(home, own) or _closed(program, own)) and _change_owner(home, own):
            return own
    if sys.platform == "linux":
        root = ClusterOwner(0, os.getegid(), namespace=True)
        closed = _closed(home, root)
        return ClusterOwner(closed.st_uid, closed.st_gid) if closed and closed.st_uid else root
    raise PostgresError("PostgreSQL refuses to run as root: run as an ordinary account")


def _change_owner(folder: Path, owner: ClusterOwner) -> bool:
    """Change the owner; return False if root may not, as in some containers."""
    try:
        os.chown(folder, owner.uid, owner.gid)
    except OSError:
        return False
    return True


def _closed(path: Path, visitor: ClusterOwner) -> os.stat_result | None:
    """Return the nearest folder above `path` that an unprivileged `visitor` cannot enter."""
    for folder in path.parents:
        found = folder.stat()
        shift = 6 if found.st_uid == visitor.uid else 3 if found.st_gid == visitor.gid else 0
        if not found.st_mode >> shift & stat.S_IXOTH:
            return found
    return None


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def open_lock(path: Path) -> int:
    """Open a lock file, creating it if necessary; child processes do not inherit the descriptor.

    Its mode is 0666 in a 0700 folder, because both root and the owner of the folder lock it.
    """
    with contextlib.suppress(FileExistsError):
        created = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        os.fchmod(created, 0o666)
        os.close(created)
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW)


def lock(descriptor: int, kind: int, until: float) -> None:
    """Take a lock (`fcntl.LOCK_SH` or `LOCK_EX`). Raises PostgresError after `until`."""
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise PostgresError("another process is starting or stopping it") from None
            time.sleep(0.005)
        else:
            return


@contextlib.contextmanager
def locked(path: Path, until: float) -> Iterator[None]:
    """Hold an exclusive lock on a file in a block. Raises PostgresError after `until`."""
    descriptor = open_lock(path)
    try:
        lock(descriptor, fcntl.LOCK_EX, until)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return True if a process holds an exclusive lock on the file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
