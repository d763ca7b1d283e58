"""Locks of the whole deployment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from models.availability import PROBE_SECONDS, DatabaseUnavailableError, availability
from models.connecting import CONNECT_SECONDS
from models.database import Database

# PostgreSQL ends a session that has said nothing for so long: longer than `verify` waits, so that
# its holder knows first.
_SILENCE = "15s"
LEADER_LOCK = 0x636F696E_6C656164  # "coinlead": held by the one leader of the deployment


class AdvisoryLock:
    """A lock of the whole deployment, held by a connection of its own until released.

    To be used as a context manager, entered before or after the lock is taken.

    PostgreSQL frees it when that connection ends, so a killed holder leaves nothing behind.
    """

    def __init__(self, database: Database, key: int) -> None:
        self._database = database
        self._key = key
        self._engine = create_async_engine(
            database.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args=database.connect_args("coingraph lock"),
        )
        self._connection: AsyncConnection | None = None
        self._busy = asyncio.Lock()  # one statement at a time on the connection

    async def acquire(self) -> bool:
        """Take the lock if it is free; never wait for it."""
        async with self._connecting() as connection:
            taken = await self._try(connection)
            if taken:
                self._connection = connection
        return taken

    async def wait(self, pause: Callable[[], float]) -> None:
        """Take the lock when it is free, asking again after `pause()` seconds.

        All on one connection, and not in one long statement, which would keep PostgreSQL from
        cleaning up. From now on it must be verified again and again: a holder that is stuck, or
        cut off, loses it after 15 seconds.
        """
        async with self._connecting() as connection:
            async with self._limit():
                await connection.execute(text(f"SET idle_session_timeout = '{_SILENCE}'"))
            while not await self._try(connection):  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(pause())
            self._connection = connection

    @contextlib.asynccontextmanager
    async def _connecting(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection; it is closed after the block unless the lock has become its own."""
        async with self._limit():
            connection = await self._engine.connect()
        try:
            yield connection
        finally:
            if connection is not self._connection:
                await _close(connection)

    @contextlib.asynccontextmanager
    async def _limit(self) -> AsyncIterator[None]:
        """Give up a statement that takes too long, and its connection with it."""
        with availability():
            async with self._database.guard(CONNECT_SECONDS):
                yield

    async def _try(self, connection: AsyncConnection) -> bool:
        async with self._limit():
            taken = await connection.scalar(
                text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}
            )
        return bool(taken)

    async def add(self, key: int) -> None:
        """Take one more lock, which nobody else asks for, and hold it as long as this one."""
        await self._execute("SELECT pg_advisory_lock(:key)", key=key)

    async def verify(self) -> None:
        """Raise DatabaseUnavailableError when the lock's connection, and so the lock, is gone."""
        await self._execute("SELECT 1")

    async def _execute(self, statement: str, **parameters: int) -> None:
        async with self._busy:
            connection = self._connection
            # once lost, SQLAlchemy would connect anew, but a new connection holds no lock
            if connection is None or connection.invalidated:
                raise DatabaseUnavailableError("The database dropped the connection of a lock.")
            async with self._limit():
                await connection.execute(text(statement), parameters)

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _close(connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()


async def _close(connection: AsyncConnection) -> None:
    with contextlib.suppress(TimeoutError):  # to say goodbye takes a server that listens
        async with asyncio.timeout(PROBE_SECONDS):
            await connection.close()
