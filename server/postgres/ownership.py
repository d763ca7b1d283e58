"""Dedicated accounts for the embedded PostgreSQL if root starts it: it refuses to run as root.

The server trusts every process that can reach its socket or its files, so no other process may run
as the owner of the cluster. Earlier versions used `nobody`, which other programs share.
"""

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from server.postgres.programs import PostgresError

if sys.platform != "win32":
    import grp
    import pwd

# Below 60,000 no range is reserved, few systems assign such high ids, and containers that map
# 65,536 accounts have them: https://www.debian.org/doc/debian-policy/ch-opersys.html#uid-and-gid-classes
_FIRST_UID, _UIDS = 52_000, 7_000
_TAKING_OVER = "cluster-taken-over"
# initdb requires an account with a name. Every system has these, and they run almost nothing.
_NAMED = ("games", "news", "uucp", "lp", "man", "bin", "daemon", "nobody")


def own_uid(home: Path) -> int:
    """Return the account for the cluster in `home`: one without a name, a group or a process.

    The result is derived from the path, so it is stable. Raises PostgresError.
    """
    start = int.from_bytes(hashlib.sha256(os.fsencode(home)).digest()[:4])
    used = set(_uids_of_processes())
    for number in range(_UIDS):
        uid = _FIRST_UID + (start + number) % _UIDS
        if uid not in used and not _is_known(uid):
            return uid
    raise PostgresError("every account that it could run as is taken: run as an ordinary account")


def builder() -> tuple[int, int]:
    """Return the uid and gid that run initdb: a named account without processes."""
    used = set(_uids_of_processes())
    for name in _NAMED:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid not in used and entry.pw_uid:
                return entry.pw_uid, entry.pw_gid
    raise PostgresError("initdb needs an account without processes: run as an ordinary account")


def has_name(uid: int) -> bool:
    """Return True if the account has a name, which initdb requires."""
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwuid(uid))
    return False


def is_shared(uid: int) -> bool:
    """Return True for the account `nobody`, which several programs share."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("nobody").pw_uid == uid
    return False


def is_nobodys(home: Path) -> bool:
    """Return True if an earlier version, run by root, created a cluster for `nobody` here.

    A cluster that is run as `nobody` itself is left unchanged: its locks do not belong to root.
    """
    if (home / _TAKING_OVER).exists():
        return True
    cluster, lock = home / "cluster", home / "start.lock"
    with contextlib.suppress(KeyError, FileNotFoundError):
        nobody = pwd.getpwnam("nobody").pw_uid
        owner = (cluster if cluster.exists() else home).lstat().st_uid
        return owner == nobody and lock.lstat().st_uid == 0
    return False


def take_over(home: Path, sockets: Path, uid: int) -> bool:
    """Change the owner of a cluster from `nobody` to the account `uid`. May be repeated.

    Processes of `nobody` may be writing to it: they are locked out first, and each folder changes
    hands before its entries are checked, so that none can be replaced. Returns False, with nothing
    changed, if root may not change owners, as in some containers.
    """
    cluster, moving = home / "cluster", home / _TAKING_OVER
    try:
        os.chown(home, uid, uid, follow_symlinks=False)
    except OSError:
        return False
    os.chown(home, 0, 0, follow_symlinks=False)
    home.chmod(0o700)
    if cluster.exists():
        _check_links(cluster)
        cluster.rename(moving)
    _remove_sockets(sockets)
    if moving.exists():
        hand_over(moving, uid)
        moving.rename(cluster)
    os.chown(home, uid, uid, follow_symlinks=False)
    return True


def hand_over(folder: Path, uid: int) -> None:
    """Change the owner of a folder and its contents. Raises PostgresError for links."""
    for _, _, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        os.fchown(descriptor, uid, uid)
        os.fchmod(descriptor, 0o700)
        for name in files:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if found.st_nlink != 1 or not stat.S_ISREG(found.st_mode):
                raise PostgresError(f"{folder} holds {name}, which is a link: take it out")
            os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)


def _check_links(folder: Path) -> None:
    """Raise PostgresError for links, before any change: they may lead to files of others."""
    for place, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            kind = found.st_mode
            if stat.S_ISDIR(kind) or (stat.S_ISREG(kind) and found.st_nlink == 1):
                continue
            raise PostgresError(
                f"{place}/{name} is a link; {folder} belongs to the account nobody, and is handed "
                "over only without links: take it out"
            )


def _remove_sockets(folder: Path) -> None:
    """Remove the socket folder of a stopped server; the next start creates another."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for name in os.listdir(descriptor):  # noqa: PTH208 - a descriptor
                os.unlink(name, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        folder.rmdir()


def _is_known(number: int) -> bool:
    with contextlib.suppress(KeyError):
        return bool(grp.getgrgid(number))
    return has_name(number)


def _uids_of_processes() -> Iterator[int]:
    """Yield the uids of all processes, on Linux; elsewhere nothing."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            yield process.stat().st_uid
