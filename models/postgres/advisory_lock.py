"""Locks that are held once in the whole deployment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Self

import asyncpg

from models.postgres.circuit_breaker import (
    PROBE_SECONDS,
    DatabaseReadOnlyError,
    DatabaseUnavailableError,
    availability,
)
from models.postgres.connection import CONNECT_SECONDS
from models.postgres.database import Database
from models.postgres.session import Session

# PostgreSQL ends a session that is idle for this time. It is longer than `verify` waits, so that
# the holder learns of the loss first.
_SILENCE = "15s"
LEADER_LOCK = 0x636F696E_6C656164  # "coinlead": held by the one leader of the deployment

# A lock on a standby, or on a read-only database, does not exclude the rest of the deployment.
_WRITABLE = "current_setting('transaction_read_only') = 'off' AND NOT pg_is_in_recovery()"
_TRY = f"SELECT pg_try_advisory_lock($1), {_WRITABLE}, pg_backend_pid()"
_VERIFY = f"SELECT pg_backend_pid() = $1, {_WRITABLE}"
_ADD = "SELECT pg_advisory_lock($1)"
_LOST = "The database dropped the connection of a lock."


class AdvisoryLock:
    """A session-level advisory lock, held on a dedicated connection until it is released.

    Used as a context manager, which may be entered before or after the lock is taken; leaving it
    releases the lock. PostgreSQL releases the lock when the connection ends, so a killed holder
    leaves no lock behind. Methods raise DatabaseUnavailableError, and DatabaseReadOnlyError if
    PostgreSQL takes no writes.
    """

    def __init__(self, database: Database, key: int) -> None:
        self._database = database
        self._key = key
        self._session: Session | None = None
        self._pid = 0  # of the PostgreSQL backend, which a pooler may exchange
        self._busy = asyncio.Lock()  # one statement at a time on the connection

    async def acquire(self) -> bool:
        """Take the lock if it is free, without waiting. Returns True if it was taken."""
        async with self._connecting() as session:
            taken = await self._try(session)
            if taken:
                self._session = session
        return taken

    async def wait(self, pause: Callable[[], float]) -> None:
        """Take the lock as soon as it is free, trying again after `pause()` seconds.

        Uses one connection and short statements: a long statement would keep PostgreSQL from
        vacuuming. The holder must then call `verify` regularly: one that is stuck or cut off
        loses the lock after 15 seconds.
        """
        async with self._connecting() as session:
            async with self._limit():
                await session.execute(f"SET idle_session_timeout = '{_SILENCE}'")
            while not await self._try(session):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(pause())
            self._session = session

    @contextlib.asynccontextmanager
    async def _connecting(self) -> AsyncIterator[Session]:
        """Open a connection; it is closed after the block unless it has taken the lock."""
        async with self._limit():
            session = await self._database.connect("coingraph lock")
        try:
            yield session
        finally:
            if session is not self._session:
                await _close(session)

    @contextlib.asynccontextmanager
    async def _limit(self) -> AsyncIterator[None]:
        """Cancel a statement that takes too long, and close its connection."""
        with availability():
            async with self._database.guard(CONNECT_SECONDS):
                yield

    async def _try(self, session: Session) -> bool:
        async with self._limit():
            row = await session.fetchrow(_TRY, self._key)
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        taken, writable, self._pid = row
        if not writable:
            raise DatabaseReadOnlyError
        return bool(taken)

    async def add(self, key: int) -> None:
        """Take another lock, which no other process requests, and hold it as long as this one."""
        async with self._held() as session:
            await session.execute(_ADD.replace("$1", str(key)))

    async def verify(self) -> None:
        """Check that the lock is still held.

        Raises DatabaseUnavailableError if its connection, and so the lock, is lost, and
        DatabaseReadOnlyError if the connection cannot write, which means the same.
        """
        async with self._held() as session:
            row = await session.fetchrow(_VERIFY, self._pid)
        assert row is not None  # noqa: S101 - as above
        same, writable = row
        if not same:
            raise DatabaseUnavailableError(_LOST)
        if not writable:
            raise DatabaseReadOnlyError

    @contextlib.asynccontextmanager
    async def _held(self) -> AsyncIterator[Session]:
        async with self._busy:
            session = self._session
            if session is None or session.is_closed():
                raise DatabaseUnavailableError(_LOST)
            async with self._limit():
                try:
                    yield session
                except BaseException:  # also when cancelled: the connection's state is unknown
                    session.terminate()
                    raise

    async def release(self) -> None:
        """Release the lock, if it is held, by closing its connection."""
        session, self._session = self._session, None
        if session is not None:
            await _close(session)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()


async def _close(session: Session) -> None:
    """Close the session; abort the connection if the server does not respond."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await session.close()
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        session.terminate()
    except asyncio.CancelledError:
        session.terminate()
        raise
