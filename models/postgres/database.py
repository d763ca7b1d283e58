"""Access to PostgreSQL: a pool, typed read and write sessions, and raw asyncpg queries."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar
from weakref import WeakSet

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models.postgres import connection
from models.postgres.circuit_breaker import (
    DRIVER_ERRORS,
    PROBE_SECONDS,
    READ_ONLY,
    Breaker,
    DatabaseReadOnlyError,
    DatabaseRefusedError,
    DatabaseUnavailableError,
    TooManyConnectionsError,
    WrongPasswordError,
    availability,
    unavailable_because,
)
from models.postgres.connection import database_url
from models.postgres.connection_share import operation_share
from models.postgres.connector import Connector
from models.postgres.pool import ConnectionPool, Pooled, session_of
from models.postgres.pooler import pools_transactions
from models.postgres.read_only import ReadOnlyWatch
from models.postgres.refusals import TRANSACTION_POOLING
from models.postgres.session import Session, UnsupportedServerError
from models.postgres.stopwatch import database_time

__all__ = [
    "DRIVER_ERRORS",
    "Database",
    "DatabaseReadOnlyError",
    "DatabaseRefusedError",
    "DatabaseUnavailableError",
    "ReadSession",
    "UnsupportedServerError",
    "WriteSession",
    "WrongPasswordError",
    "availability",
]

POOL_SIZE = 16  # with those outside the pool, within PgBouncer's default of 20 per role
READ_SECONDS = 10.0  # the timeout of reads
WRITE_SECONDS = 60.0
_PAST_THE_POOL = 3  # connections of the listener, of the leader's lock and of a run's lock
_ROOM_PAUSE = 0.1
S = TypeVar("S", bound=AsyncSession)


class ReadSession(AsyncSession):
    """A short read-only session; each statement is a transaction of its own."""

    async def driver(self) -> Session:
        """Return the underlying asyncpg connection, for binary columns and COPY."""
        return await session_of(await self.connection())


class WriteSession(ReadSession):
    """A transaction: committed when its block ends normally, rolled back on an exception."""


class Database:
    """All access to one database: `pool_size` connections, and up to three outside the pool.

    `password` returns the password of each new connection; None means the one in `url`. Connects at
    first use. `read_seconds` is the timeout of reads. Methods raise DatabaseUnavailableError if
    PostgreSQL is unreachable or too slow.
    """

    def __init__(
        self,
        url: str,
        *,
        password: Callable[[], str | None] | None = None,
        pool_size: int = POOL_SIZE,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self.url = database_url(url)
        self._connector = Connector(self.url, password)
        self._sessions = WeakSet[Session]()
        self._past_the_pool = WeakSet[Session]()
        self._pool = ConnectionPool(self._open, pool_size)
        self._breaker = Breaker(self._probe, self._drop)
        self.read_only = ReadOnlyWatch(
            self._sessions, lambda: self._connector.connect("coingraph probe")
        )
        self.read_only.renewed.append(self._pool.terminate_stale)
        self._read_seconds = read_seconds
        self._wait_seconds = 0.9 * read_seconds  # for a connection; less than the whole timeout

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine of the pool."""
        return self._pool.engine

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Read rows directly with asyncpg, at a fraction of the cost of a session.

        A pooled connection may be dead. A ping before each statement would double the cost, so the
        statement, which only reads, is repeated once on a connection that was pinged.
        """
        with availability(), database_time.get():
            async with operation_share(), self._breaker.guard(self._read_seconds):
                pooled = self._pool.pop_spare() or await self._take_reader(ping=False)
                try:
                    return await self._fetch(pooled, statement, arguments)
                except DRIVER_ERRORS as error:
                    if not unavailable_because(error):
                        raise
                await self._pool.put_back_spares()
                return await self._fetch(await self._take_reader(), statement, arguments)

    async def statement(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Write with one statement, which commits itself and is never repeated."""
        with availability():
            async with self._breaker.guard(READ_SECONDS):
                pooled = await self._take_writer(self._pool.reader, 0.9 * READ_SECONDS)
                return await self._fetch(pooled, statement, arguments)

    async def _fetch(
        self, pooled: Pooled, statement: str, arguments: Sequence[object]
    ) -> list[asyncpg.Record]:
        connection, session = pooled
        try:
            rows: list[asyncpg.Record] = await session.fetch(statement, *arguments)
        except BaseException as error:  # also when cancelled: the connection's state is unknown
            self._note_refusal(session, error)
            await self._pool.discard(connection)
            raise
        await self._pool.spare(pooled)
        return rows

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """Open a read session. Close it before waiting for anything else."""
        with availability(), database_time.get():
            async with operation_share(), self._breaker.guard(self._read_seconds):
                pooled = await self._take_reader()
                async with self._lent(pooled, ReadSession) as session:
                    yield session

    @asynccontextmanager
    async def write(self, seconds: float | None = WRITE_SECONDS) -> AsyncIterator[WriteSession]:
        """Open a transaction; it commits when the block ends without an exception.

        It is cancelled after `seconds`; None: only if the database does not answer. Raises
        DatabaseReadOnlyError, before the block begins if that is known by then.
        """
        with availability():
            async with self._breaker.guard(seconds):
                pooled = await self._take_writer(self.engine, 0.9 * (seconds or WRITE_SECONDS))
                async with self._lent(pooled, WriteSession) as session, session.begin():
                    yield session

    @asynccontextmanager
    async def _lent(self, pooled: Pooled, kind: type[S]) -> AsyncIterator[S]:
        connection, driver = pooled
        session = kind(connection, expire_on_commit=False)
        try:
            yield session
        except BaseException as error:
            self._note_refusal(driver, error)
            raise
        finally:

            async def end() -> None:
                try:
                    await session.close()
                finally:
                    await self._pool.put_back(connection)

            await asyncio.shield(asyncio.ensure_future(end()))

    async def _take_reader(self, *, ping: bool = True) -> Pooled:
        return await self._pool.take(
            self._pool.reader, self._wait_seconds, reserve=self._reserve, ping=ping
        )

    async def _take_writer(self, engine: AsyncEngine, seconds: float) -> Pooled:
        """Take a connection that can write. Raises DatabaseReadOnlyError if none can."""
        for _ in range(2):
            pooled = await self._pool.take(engine, seconds, reserve=self._reserve)
            if not pooled[1].read_only:
                return pooled
            self.read_only.note(pooled[1])
            await self._pool.put_back(pooled[0])
            if not await self.read_only.takes_writes():
                break
        raise DatabaseReadOnlyError

    def _note_refusal(self, session: Session, error: BaseException) -> None:
        if unavailable_because(error) is READ_ONLY:
            session.mark_read_only()
            self.read_only.note(session)

    @property
    def _reserve(self) -> int:
        """The number of connections outside the pool that are not open yet."""
        return max(0, _PAST_THE_POOL - sum(not each.is_closed() for each in self._past_the_pool))

    def guard(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """Limit a wait on a connection outside the pool; see Breaker.guard."""
        return self._breaker.guard(seconds)

    async def connect(self, application_name: str) -> Session:
        """Open a connection outside the pool; the caller closes it.

        If the server refuses further connections, the pool closes one of its own.
        """
        refused: DatabaseUnavailableError | None = None
        try:
            async with asyncio.timeout(connection.CONNECT_SECONDS) as limit:
                while True:
                    try:
                        session = await self._connector.connect(application_name)
                    except TooManyConnectionsError as error:
                        if refused is None:  # once: another client may take the free connection
                            await self._pool.make_room()
                        refused = error
                        await asyncio.sleep(_ROOM_PAUSE)
                    else:
                        self._past_the_pool.add(session)
                        return session
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise (
                refused or DatabaseUnavailableError("The database cannot be reached.")
            ) from error

    async def check(self) -> None:
        """Check that the server answers, is new enough, and has the required configuration.

        Raises DatabaseUnavailableError, DatabaseRefusedError and UnsupportedServerError.
        """
        with availability():
            async with self._breaker.guard(READ_SECONDS):
                session = await self.connect("coingraph check")
                try:
                    await self._check(session)
                finally:
                    session.terminate()

    async def _check(self, session: Session) -> None:
        encoding = await session.fetchval("SHOW server_encoding")
        if encoding != "UTF8":
            raise DatabaseRefusedError(
                f"the database's encoding is {encoding}, which cannot hold all names. Create one "
                "with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it."
            )
        if await pools_transactions(session, lambda: self.connect("coingraph check")):
            raise DatabaseRefusedError(TRANSACTION_POOLING)

    async def put_back_spares(self) -> None:
        """Return the connections that `fetch` holds for reuse to the pool."""
        await self._pool.put_back_spares()

    async def close(self) -> None:
        """Close all connections of the pool and stop probing."""
        await self._breaker.close()
        await self.read_only.close()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._pool.close()
        except TimeoutError:  # a graceful end needs a server that responds
            self._drop()

    async def _open(self) -> Session:
        session = await self._connector.connect("coingraph")
        self._sessions.add(session)
        self.read_only.note(session)
        return session

    async def _probe(self) -> None:
        """Raise unless the server answers. A refusal counts as an answer."""
        try:
            session = await self._connector.connect("coingraph probe")
        except (TooManyConnectionsError, DatabaseRefusedError):
            return  # it may answer on existing connections
        try:
            await session.execute("SELECT 1")
        finally:
            session.terminate()

    def _drop(self) -> None:
        """Abort all connections, so that nothing waits for one."""
        for session in tuple(self._sessions):
            session.terminate()
