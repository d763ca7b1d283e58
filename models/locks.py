"""Locks of the whole deployment."""

import asyncio
import contextlib
from typing import Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from models.availability import PROBE_SECONDS, DatabaseUnavailableError, availability
from models.database import CONNECT_SECONDS, Database, connect_args


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
            connect_args=connect_args("coingraph lock"),
        )
        self._connection: AsyncConnection | None = None

    async def acquire(self) -> bool:
        """Take the lock if it is free; never wait for it."""
        with availability():
            async with self._database.guard(CONNECT_SECONDS):
                connection = await self._engine.connect()
                try:
                    taken = await connection.scalar(
                        text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}
                    )
                except BaseException:
                    await connection.close()
                    raise
        self._connection = connection
        if not taken:
            await self.release()
        return bool(taken)

    async def add(self, key: int) -> None:
        """Take one more lock, which nobody else asks for, and hold it as long as this one."""
        await self._execute("SELECT pg_advisory_lock(:key)", key=key)

    async def verify(self) -> None:
        """Raise DatabaseUnavailableError when the lock's connection, and so the lock, is gone."""
        await self._execute("SELECT 1")

    async def _execute(self, statement: str, **parameters: int) -> None:
        connection = self._connection
        # once lost, SQLAlchemy would connect anew, but a new connection holds no lock
        if connection is None or connection.invalidated:
            raise DatabaseUnavailableError("The database dropped the connection of a lock.")
        with availability():
            async with self._database.guard(CONNECT_SECONDS):
                await connection.execute(text(statement), parameters)

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(TimeoutError):  # to say goodbye takes a server that listens
                async with asyncio.timeout(PROBE_SECONDS):
                    await connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()
