"""The limit of open files of the process: each connection is one."""

import contextlib
import sys

import structlog

if sys.platform != "win32":
    import resource

log = structlog.get_logger("coingraph.server")

_RESERVED = 256  # files for all but client connections: the database, the log, libraries
_MOST = 65_536  # without a hard limit: some systems accept no higher soft limit


def raise_limit(per_address: int) -> None:
    """Raise the soft limit to the hard limit: shells and systemd start with 1,024, macOS with 256.

    Logs a warning if the `per_address` connections of one address could exhaust it.
    """
    if sys.platform == "win32":  # no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # the limit of the system is lower
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    if soft != resource.RLIM_INFINITY and not 0 < per_address < soft:
        log.warning(
            "one address may exhaust the limit of open files: raise `ulimit -Hn`, "
            "or lower MAX_CONNECTIONS_PER_ADDRESS",
            files=soft,
            connections=per_address,
        )


def room_for_connections() -> int | None:
    """Return how many client connections the file limit allows, None without a limit."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(soft - _RESERVED, soft // 2)
