"""The way to PostgreSQL: one engine, read and write sessions of different types, raw columns."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

import asyncpg
from sqlalchemy import event, exc, text
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)

from models.availability import (
    DRIVER_ERRORS,
    PROBE_SECONDS,
    Breaker,
    DatabaseUnavailableError,
    availability,
    unavailable_because,
)
from models.connecting import connect_args, database_url
from models.shares import shared
from models.stopwatch import database_time

__all__ = [
    "DRIVER_ERRORS",
    "Database",
    "DatabaseUnavailableError",
    "ReadSession",
    "UnsupportedServerError",
    "WriteSession",
    "availability",
]

OLDEST_SERVER = 140000  # PostgreSQL 14, as server_version_num counts
POOL_SECONDS = 3.0  # so long a statement waits for one of the pool's connections
READ_SECONDS = 10.0  # what takes longer is given up
WRITE_SECONDS = 60.0

_Spare = tuple[AsyncConnection, asyncpg.Connection]


class UnsupportedServerError(Exception):
    """The server is older than PostgreSQL 14."""


class ReadSession(AsyncSession):
    """A short session that only reads; each statement is a transaction of its own."""

    async def driver(self) -> asyncpg.Connection:
        """Give the asyncpg connection beneath, for binary columns and COPY."""
        raw = await (await self.connection()).get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None  # noqa: S101 - the engine is asyncpg's
        return driver  # type: ignore[no-any-return] # SQLAlchemy types it Any


class WriteSession(ReadSession):
    """One transaction: committed when its block ends well, rolled back when it does not."""


class Database:
    """All access to one database. Cheap to make: it connects at first use.

    `password` gives the password of each new connection, None for the one in `url`.
    """

    def __init__(
        self,
        url: str,
        *,
        password: Callable[[], str | None] | None = None,
        pool_size: int = 10,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self.url = database_url(url)
        self._password = password
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_SECONDS,
            connect_args=self.connect_args("coingraph"),
        )
        event.listen(self.engine.sync_engine, "checkout", _ping)
        event.listen(self.engine.sync_engine, "connect", self._note)
        self._drivers = WeakSet[asyncpg.Connection]()
        self._breaker = Breaker(self._probe, self._drop)
        self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        # Of the engine's connections, those that `fetch` has and will need again: the way into the
        # pool and out again costs as much as a small statement. The other half is for sessions.
        self._spare: list[_Spare] = []
        self._most_spare = pool_size // 2
        self._read_seconds = read_seconds

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Read rows on asyncpg itself, at a fraction of what a session costs.

        A pooled connection may have died unnoticed. Asking it first would double the cost, so the
        statement, which only reads, is sent once more on a connection that was asked.
        """
        with availability(), database_time.get():
            async with shared(), self._breaker.guard(self._read_seconds):
                spare = self._spare.pop() if self._spare else await self._take(ping=False)
                try:
                    return await self._fetch(spare, statement, arguments)
                except DRIVER_ERRORS as error:
                    if not unavailable_because(error):
                        raise
                await self._give_back_spares()
                return await self._fetch(await self._take(ping=True), statement, arguments)

    async def statement(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Write with one statement, which commits itself and is never sent twice."""
        with availability():
            async with self._breaker.guard(READ_SECONDS):
                return await self._fetch(await self._take(ping=True), statement, arguments)

    async def _fetch(
        self, spare: _Spare, statement: str, arguments: Sequence[object]
    ) -> list[asyncpg.Record]:
        connection, driver = spare
        try:
            rows: list[asyncpg.Record] = await driver.fetch(statement, *arguments)
        except BaseException:  # also when cancelled: its state is not known
            await connection.invalidate()
            await connection.close()
            raise
        if len(self._spare) < self._most_spare:
            self._spare.append(spare)
        else:
            await connection.close()
        return rows

    async def _take(self, *, ping: bool) -> _Spare:
        asked = _pinged.set(ping)
        try:
            connection = await self._reader.connect()
        finally:
            _pinged.reset(asked)
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None  # noqa: S101 - the engine is asyncpg's
        return connection, driver

    async def _give_back_spares(self) -> None:
        while self._spare:
            connection, _ = self._spare.pop()
            await connection.close()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """Open a session for one answer; close it before waiting for anything else."""
        with availability(), database_time.get():
            async with (
                shared(),
                self._breaker.guard(self._read_seconds),
                ReadSession(self._reader, expire_on_commit=False) as session,
            ):
                yield session

    @asynccontextmanager
    async def write(self, seconds: float | None = WRITE_SECONDS) -> AsyncIterator[WriteSession]:
        """Open one transaction; it commits when the block ends without an exception.

        It is given up after so many seconds; None: only when the database does not answer.
        """
        with availability():
            async with (
                self._breaker.guard(seconds),
                WriteSession(self.engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session

    def guard(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """Limit a wait for the database on a connection past the pool; see Breaker.guard."""
        return self._breaker.guard(seconds)

    async def connect(self, application_name: str) -> asyncpg.Connection:
        """Open a connection past the pool; the caller closes it."""
        _, where = self.engine.dialect.create_connect_args(self.url)
        with availability():
            return await asyncpg.connect(**{**where, **self.connect_args(application_name)})

    def connect_args(self, application_name: str) -> dict[str, Any]:
        """Give what asyncpg is told of every connection besides where it leads."""
        # asyncpg calls a password that is a function, for each connection that it makes
        password = {"password": self._password} if self._password else {}
        return connect_args(application_name) | password

    async def check(self) -> None:
        """Raise unless the server answers and is new enough."""
        async with self.read() as session:
            version = await session.scalar(text("SHOW server_version_num"))
        if int(version or 0) < OLDEST_SERVER:
            raise UnsupportedServerError(
                f"PostgreSQL 14 or newer is needed; this server says {version}. "
                "Point DATABASE_URL to a newer one, or unset it to use the embedded one."
            )

    async def close(self) -> None:
        await self._breaker.close()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._give_back_spares()
                await self.engine.dispose()
        except TimeoutError:  # to say goodbye takes a server that listens
            self._drop()

    def _note(self, connection: Any, _record: object) -> None:  # noqa: ANN401 - SQLAlchemy's adapter
        self._drivers.add(connection.driver_connection)

    async def _probe(self) -> None:
        """Raise unless the server answers."""
        try:
            connection = await self.connect("coingraph probe")
        except DatabaseUnavailableError as error:
            if isinstance(error.__cause__, asyncpg.TooManyConnectionsError):
                return  # it has answered, and may be answering on others of our connections
            raise
        try:
            await connection.execute("SELECT 1")
        finally:
            connection.terminate()

    def _drop(self) -> None:
        """End all connections without a word, so that nothing waits for one."""
        for driver in tuple(self._drivers):
            driver.terminate()


_pinged: ContextVar[bool] = ContextVar("pinged", default=True)


def _ping(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401 - SQLAlchemy's adapter
    """Make sure that a pooled connection lives, else the pool gives another."""
    if not _pinged.get():
        return
    try:
        connection.run_async(lambda driver: driver.execute("SELECT 1", timeout=PROBE_SECONDS))
    except DRIVER_ERRORS as error:
        raise exc.DisconnectionError("a pooled connection has died") from error
