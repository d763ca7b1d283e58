"""The way to PostgreSQL: one engine, read and write sessions of different types, raw columns."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import asyncpg
from sqlalchemy import event, exc, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)

from models.stopwatch import database_time

OLDEST_SERVER = 140000  # PostgreSQL 14, as server_version_num counts
CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0  # a statement that takes longer is given up
# A machine that loses its power says no goodbye: without these, PostgreSQL would keep the locks
# of its connections for two hours.
_KEEPALIVES = {"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5"}


_PARAMETERS = {"host", "port", "ssl", "passfile", "target_session_attrs"}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


_Spare = tuple[AsyncConnection, asyncpg.Connection]


class DatabaseUnavailableError(Exception):
    """PostgreSQL cannot be reached, or dropped the connection. The message names no secret."""


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


def database_url(text_url: str) -> URL:
    """Read `postgresql://…` in the spellings people use. Raises ValueError with one sentence."""
    try:
        url = make_url(text_url)
    except exc.ArgumentError:
        raise ValueError("expected postgresql://user:password@host:port/database") from None
    if url.drivername not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise ValueError(f"expected a postgresql:// address, not {url.drivername}://")
    query = dict(url.query)
    if "sslmode" in query:  # libpq's spelling of what asyncpg calls ssl
        query["ssl"] = query.pop("sslmode")
    for name in query.keys() - _PARAMETERS:
        raise ValueError(f"the parameter {name!r} is not supported; leave it out")
    if query.get("ssl", "prefer") not in _SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(_SSL_MODES)}")
    return url.set(drivername="postgresql+asyncpg", query=query)


def connect_args(application_name: str) -> dict[str, Any]:
    """What asyncpg is told of every connection, besides where it leads."""
    settings = {"application_name": application_name, "timezone": "UTC", **_KEEPALIVES}
    return {"timeout": CONNECT_SECONDS, "server_settings": settings}


class Database:
    """All access to one database. Cheap to make: it connects at first use."""

    def __init__(
        self, url: str, *, pool_size: int = 10, read_seconds: float = READ_SECONDS
    ) -> None:
        self.url = database_url(url)
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=CONNECT_SECONDS,
            connect_args=connect_args("coingraph"),
        )
        event.listen(self.engine.sync_engine, "checkout", _ping)
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
            spare = self._spare.pop() if self._spare else await self._take(ping=False)
            try:
                return await self._fetch(spare, statement, arguments)
            except TimeoutError:
                raise
            except DRIVER_ERRORS as error:
                if not _means_unavailable(error):
                    raise
            await self._give_back_spares()
            return await self._fetch(await self._take(ping=True), statement, arguments)

    async def statement(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Write with one statement, which commits itself and is never sent twice."""
        with availability():
            return await self._fetch(await self._take(ping=True), statement, arguments)

    async def _fetch(
        self, spare: _Spare, statement: str, arguments: Sequence[object]
    ) -> list[asyncpg.Record]:
        connection, driver = spare
        try:
            rows: list[asyncpg.Record] = await driver.fetch(
                statement, *arguments, timeout=self._read_seconds
            )
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
            async with ReadSession(self._reader, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """Open one transaction; it commits when the block ends without an exception."""
        with availability():
            async with (
                WriteSession(self.engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session

    async def connect(self, application_name: str) -> asyncpg.Connection:
        """Open a connection past the pool; the caller closes it."""
        _, where = self.engine.dialect.create_connect_args(self.url)
        with availability():
            return await asyncpg.connect(**where, **connect_args(application_name))

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
        await self._give_back_spares()
        await self.engine.dispose()


# The last is what asyncpg raises where a farewell of the server's lies unread.
DRIVER_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

_LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError)

_pinged: ContextVar[bool] = ContextVar("pinged", default=True)


def _ping(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401 - SQLAlchemy's adapter
    """Make sure that a pooled connection lives, else the pool gives another."""
    if not _pinged.get():
        return
    try:
        connection.run_async(lambda driver: driver.execute("SELECT 1"))
    except DRIVER_ERRORS as error:
        raise exc.DisconnectionError("a pooled connection has died") from error


@contextmanager
def availability() -> Iterator[None]:
    """Turn every way of losing PostgreSQL into one error."""
    try:
        yield
    except exc.TimeoutError as error:
        raise DatabaseUnavailableError("All database connections are busy.") from error
    except exc.DBAPIError as error:
        if error.connection_invalidated or _means_unavailable(error.orig):
            raise DatabaseUnavailableError("The database cannot be reached.") from error
        raise
    except DRIVER_ERRORS as error:
        if _means_unavailable(error):
            raise DatabaseUnavailableError("The database cannot be reached.") from error
        raise


# Connection exceptions, insufficient resources, operator intervention (shutdown), bad logins and
# a database that is not there: https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE_CLASSES = ("08", "53", "57P", "28", "3D")


def _means_unavailable(error: BaseException | None) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _LOST):
            return True
        if isinstance(cause, asyncpg.InterfaceError) and "closed" in str(cause):
            return True
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str) and state.startswith(_UNAVAILABLE_CLASSES):
            return True
        cause = cause.__cause__
    return False
