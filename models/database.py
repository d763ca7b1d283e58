"""The way to PostgreSQL: one engine, read and write sessions of different types, raw columns."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import asyncpg
from sqlalchemy import exc, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.pool import NullPool

from models.stopwatch import database_time

OLDEST_SERVER = 140000  # PostgreSQL 14, as server_version_num counts
CONNECT_SECONDS = 5.0
# A machine that loses its power says no goodbye: without these, PostgreSQL would keep the locks
# of its connections for two hours.
_KEEPALIVES = {"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5"}


_PARAMETERS = {"host", "port", "ssl", "passfile", "target_session_attrs"}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


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


def _connect_args(application_name: str) -> dict[str, Any]:
    """What asyncpg is told of every connection, besides where it leads."""
    settings = {"application_name": application_name, "timezone": "UTC", **_KEEPALIVES}
    return {"timeout": CONNECT_SECONDS, "server_settings": settings}


class Database:
    """All access to one database. Cheap to make: it connects at first use."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = database_url(url)
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=CONNECT_SECONDS,
            pool_pre_ping=True,
            connect_args=_connect_args("coingraph"),
        )
        self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """Open a session for one answer; close it before waiting for anything else."""
        with _availability(), database_time.get():
            async with ReadSession(self._reader, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """Open one transaction; it commits when the block ends without an exception."""
        with _availability():
            async with (
                WriteSession(self.engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session

    async def connect(self, application_name: str) -> asyncpg.Connection:
        """Open a connection past the pool; the caller closes it."""
        _, where = self.engine.dialect.create_connect_args(self.url)
        with _availability():
            return await asyncpg.connect(**where, **_connect_args(application_name))

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
        await self.engine.dispose()


class AdvisoryLock:
    """A lock of the whole deployment, held by a connection of its own until released.

    To be used as a context manager, entered before or after the lock is taken.

    PostgreSQL frees it when that connection ends, so a killed holder leaves nothing behind.
    """

    def __init__(self, database: Database, key: int) -> None:
        self._key = key
        self._engine = create_async_engine(
            database.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args=_connect_args("coingraph lock"),
        )
        self._connection: AsyncConnection | None = None

    async def acquire(self) -> bool:
        """Take the lock if it is free; never wait for it."""
        with _availability():
            connection = await self._engine.connect()
            try:
                taken = await connection.scalar(
                    text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}
                )
            except BaseException:
                await connection.close()
                raise
            if taken:
                self._connection = connection
            else:
                await connection.close()
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
        with _availability():
            await connection.execute(text(statement), parameters)

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()


@contextmanager
def _availability() -> Iterator[None]:
    """Turn every way of losing PostgreSQL into one error."""
    try:
        yield
    except exc.TimeoutError as error:
        raise DatabaseUnavailableError("All database connections are busy.") from error
    except exc.DBAPIError as error:
        if error.connection_invalidated or _means_unavailable(error.orig):
            raise DatabaseUnavailableError("The database cannot be reached.") from error
        raise
    except OSError as error:
        raise DatabaseUnavailableError("The database cannot be reached.") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if _means_unavailable(error):
            raise DatabaseUnavailableError("The database cannot be reached.") from error
        raise


# Connection exceptions, insufficient resources, operator intervention (shutdown), bad logins and
# a database that is not there: https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE_CLASSES = ("08", "53", "57P", "28", "3D")


def _means_unavailable(error: BaseException | None) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError | TimeoutError | asyncpg.PostgresConnectionError):
            return True
        if isinstance(cause, asyncpg.InterfaceError) and "closed" in str(cause):
            return True
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str) and state.startswith(_UNAVAILABLE_CLASSES):
            return True
        cause = cause.__cause__
    return False
