"""The way to PostgreSQL: one pool, read and write sessions of different types, raw columns."""

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
from models.postgres.connection_share import shared
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

POOL_SIZE = 16  # with those past the pool, as many as PgBouncer gives a role by default
READ_SECONDS = 10.0  # what takes longer is given up
WRITE_SECONDS = 60.0
_PAST_THE_POOL = 3  # the listener's, the leader's lock's and a run's lock's connection
_ROOM_PAUSE = 0.1
S = TypeVar("S", bound=AsyncSession)


class ReadSession(AsyncSession):
    """A short session that only reads; each statement is a transaction of its own."""

    async def driver(self) -> Session:
        """Give the asyncpg connection beneath, for binary columns and COPY."""
        return await session_of(await self.connection())


class WriteSession(ReadSession):
    """One transaction: committed when its block ends well, rolled back when it does not."""


class Database:
    """All access to one database, on `pool_size` connections at most and up to three past the pool.

    `password` gives the password of each new connection, None for the one in `url`.
    Cheap to make: it connects at first use.
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
        self._read_seconds = read_seconds
        self._wait_seconds = 0.9 * read_seconds  # for a connection: before all is given up

    @property
    def engine(self) -> AsyncEngine:
        return self._pool.engine

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Read rows on asyncpg itself, at a fraction of what a session costs.

        A pooled connection may have died unnoticed. Asking it first would double the cost, so the
        statement, which only reads, is sent once more on a connection that was asked.
        """
        with availability(), database_time.get():
            async with shared(), self._breaker.guard(self._read_seconds):
                pooled = self._pool.pop_spare() or await self._take_reader(ping=False)
                try:
                    return await self._fetch(pooled, statement, arguments)
                except DRIVER_ERRORS as error:
                    if not unavailable_because(error):
                        raise
                await self._pool.put_back_spares()
                return await self._fetch(await self._take_reader(), statement, arguments)

    async def statement(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Write with one statement, which commits itself and is never sent twice."""
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
        except BaseException as error:  # also when cancelled: its state is not known
            self._note_refusal(session, error)
            await self._pool.discard(connection)
            raise
        await self._pool.spare(pooled)
        return rows

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """Open a session for one answer; close it before waiting for anything else."""
        with availability(), database_time.get():
            async with shared(), self._breaker.guard(self._read_seconds):
                pooled = await self._take_reader()
                async with self._lent(pooled, ReadSession) as session:
                    yield session

    @asynccontextmanager
    async def write(self, seconds: float | None = WRITE_SECONDS) -> AsyncIterator[WriteSession]:
        """Open one transaction; it commits when the block ends without an exception.

        It is given up after so many seconds; None: only when the database does not answer.
        Raises DatabaseReadOnlyError, before the block begins where that is known by then.
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
        """Take a connection that can write. Raises DatabaseReadOnlyError where none can."""
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
            session.was_refused_a_write()
            self.read_only.note(session)

    @property
    def _reserve(self) -> int:
        """How many connections past the pool are still to come."""
        return max(0, _PAST_THE_POOL - sum(not each.is_closed() for each in self._past_the_pool))

    def guard(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """Limit a wait for the database on a connection past the pool; see Breaker.guard."""
        return self._breaker.guard(seconds)

    async def connect(self, application_name: str) -> Session:
        """Open a connection past the pool; the caller closes it.

        Where the server gives no more, the pool gives up one of its own.
        """
        refused: DatabaseUnavailableError | None = None
        try:
            async with asyncio.timeout(connection.CONNECT_SECONDS) as limit:
                while True:
                    try:
                        session = await self._connector.connect(application_name)
                    except TooManyConnectionsError as error:
                        if refused is None:  # once: others may be who takes what becomes free
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
        """Raise unless the server answers, is new enough, and is such as the code needs.

        Raises DatabaseUnavailableError, DatabaseRefusedError, UnsupportedServerError.
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
        """Give back what `fetch` keeps at hand."""
        await self._pool.put_back_spares()

    async def close(self) -> None:
        await self._breaker.close()
        await self.read_only.close()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._pool.close()
        except TimeoutError:  # to say goodbye takes a server that listens
            self._drop()

    async def _open(self) -> Session:
        session = await self._connector.connect("coingraph")
        self._sessions.add(session)
        self.read_only.note(session)
        return session

    async def _probe(self) -> None:
        """Raise unless the server answers. To refuse us is an answer, too."""
        try:
            session = await self._connector.connect("coingraph probe")
        except (TooManyConnectionsError, DatabaseRefusedError):
            return  # it may be answering on others of our connections
        try:
            await session.execute("SELECT 1")
        finally:
            session.terminate()

    def _drop(self) -> None:
        """End all connections without a word, so that nothing waits for one."""
        for session in tuple(self._sessions):
            session.terminate()
