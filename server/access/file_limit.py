"""How many files a process may open: each connection is one."""

import contextlib
import sys

import structlog

if sys.platform != "win32":
    import resource

log = structlog.get_logger("coingraph.server")

_RESERVED = 256  # files for all but connections of clients: the database, the log, libraries
_MOST = 65_536  # where there is no hard limit, some systems take no larger one


def raise_limit(per_address: int) -> None:
    """Take as many files as may be had: shells and systemd give 1,024 at first, macOS 256.

    Warns where one address, with so many connections, could take them all.
    """
    if sys.platform == "win32":  # which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # the system's own limit is lower
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    if soft != resource.RLIM_INFINITY and not 0 < per_address < soft:
        log.warning(
            "one address may take all files that a process may open: raise `ulimit -Hn`, "
            "or lower MAX_CONNECTIONS_PER_ADDRESS",
            files=soft,
            connections=per_address,
        )


def room_for_connections() -> int | None:
    """How many connections of clients this process has files for; None where nothing limits it."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(soft - _RESERVED, soft // 2)
