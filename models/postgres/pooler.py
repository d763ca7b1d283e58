"""Detects a connection pooler in transaction mode."""

from collections.abc import Awaitable, Callable

import asyncpg

from models.postgres.session import Session

_PID = "SELECT pg_backend_pid()"
_ROUNDS = 3


async def pools_transactions(session: Session, connect: Callable[[], Awaitable[Session]]) -> bool:
    """Return True if a second client is assigned the backend that `session` has just used.

    In session mode, each client keeps its own backend for as long as it is connected.
    """
    if not session.pooled:
        return False
    other = await connect()
    try:
        for _ in range(_ROUNDS):
            before = await session.fetchval(_PID)
            async with other.transaction():
                theirs = await other.fetchval(_PID)
                after = await session.fetchval(_PID)
            if theirs == before or after != before:
                return True
    except asyncpg.PostgresError:  # transactions or prepared statements fail across backends
        return True
    finally:
        other.terminate()
    return False
