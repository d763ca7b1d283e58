"""Whether a pooler between us and PostgreSQL gives each transaction another session."""

from collections.abc import Awaitable, Callable

import asyncpg

from models.postgres.session import Session

_PID = "SELECT pg_backend_pid()"
_ROUNDS = 3


async def pools_transactions(session: Session, connect: Callable[[], Awaitable[Session]]) -> bool:
    """Return True if another client is given the PostgreSQL session that this one has just used.

    In session mode, each client has one of its own for as long as it is connected.
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
    except asyncpg.PostgresError:  # no transactions, or no prepared statements, across sessions
        return True
    finally:
        other.terminate()
    return False
