"""The connection pool, which adapts to the number of connections that PostgreSQL accepts."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from models.postgres.circuit_breaker import (
    DRIVER_ERRORS,
    PROBE_SECONDS,
    DatabaseUnavailableError,
    TooManyConnectionsError,
)
from models.postgres.connection_slots import ConnectionSlots
from models.postgres.session import Session

_PAUSE = 0.1  # before another attempt, if no connection is in use that could become free

Pooled = tuple[AsyncConnection, Session]


class ConnectionPool:
    """A pool of at most `size` connections, opened by `open_session`; half of them stay open idle.

    If the server refuses more, callers wait for one in use. ConnectionSlots is the only limit: one
    of SQLAlchemy's would count a connection whose close was cancelled until garbage collection.
    """

    def __init__(self, open_session: Callable[[], Awaitable[Session]], size: int) -> None:
        self.engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=open_session,
            isolation_level="READ COMMITTED",
            poolclass=_Queue,
            pool_size=(size + 1) // 2,
            max_overflow=-1,
        )
        self.reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        assert isinstance(self.engine.pool, _Queue)  # noqa: S101 - it was named above
        self._queue = self.engine.pool
        self._queue.keeps = self._keeps
        event.listen(self.engine.sync_engine, "checkout", _ping)
        self._slots = ConnectionSlots[Pooled](size)
        self._giving_back = set[asyncio.Task[None]]()
        # Connections kept ready between two readers: returning one to SQLAlchemy's queue and taking
        # it out again costs as much as a small statement.
        self._spare: list[Pooled] = []

    @property
    def open(self) -> int:
        """The number of connections that are open or being opened."""
        return self._queue.checkedin() + self._queue.checkedout()

    def pop_spare(self) -> Pooled | None:
        """Return a spare connection of `reader`; None if there is none."""
        if self._spare and not self._spare[-1][1].stale:
            return self._spare.pop()
        return None

    async def take(
        self, engine: AsyncEngine, seconds: float, *, reserve: int, ping: bool = True
    ) -> Pooled:
        """Take a connection of `engine` or `reader`, and ping it first if `ping`.

        If the server refuses more connections, wait up to `seconds` for one in use, and leave
        `reserve` connections to others. Raises DatabaseUnavailableError.
        """
        refused: TooManyConnectionsError | None = None
        try:
            async with asyncio.timeout(seconds) as limit:
                while True:
                    while self._spare and (self._slots.full or self._spare[-1][1].stale):
                        await self.put_back(self._spare.pop()[0])
                    passed = await self._slots.take(
                        first=refused is not None,
                        connected=self._pass_by if engine is self.reader else None,
                    )
                    if passed is not None:
                        return passed
                    try:
                        return await _connect(engine, ping=ping)
                    except TooManyConnectionsError as error:
                        refused = error
                        self._slots.shrink_to(self._slots.taken - 1 - reserve)
                        self._slots.give_back()
                    except BaseException:
                        self._slots.give_back()
                        raise
                    if not self._slots.taken:
                        await asyncio.sleep(_PAUSE)
        except TimeoutError as error:
            if not limit.expired():
                raise
            if refused is not None:
                raise refused from error
            raise DatabaseUnavailableError("All database connections are busy.") from error

    async def spare(self, pooled: Pooled) -> None:
        """Give back a connection of `reader` after a successful statement."""
        if not pooled[1].stale and self._slots.pass_on(pooled):
            return
        # at most half are spare, the rest are for sessions; `take` reclaims spares if need be
        if len(self._spare) < self._slots.limit // 2 and not self._slots.crowded:
            self._spare.append(pooled)
        else:
            await self.put_back(pooled[0])

    def _pass_by(self, pooled: Pooled) -> None:
        """Give back a connection of `reader` whose intended caller was cancelled."""
        task = asyncio.get_running_loop().create_task(self.spare(pooled))
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)

    async def put_back(self, connection: AsyncConnection) -> None:
        """Give back a connection and its slot."""
        try:
            await connection.close()
        finally:
            self._slots.give_back()

    async def discard(self, connection: AsyncConnection) -> None:
        """Close a connection whose state is unknown, and give back its slot."""
        try:
            await connection.invalidate()
        finally:
            await self.put_back(connection)

    async def put_back_spares(self) -> None:
        """Give back all spare connections."""
        while self._spare:
            await self.put_back(self._spare.pop()[0])

    def terminate_stale(self) -> None:
        """Abort the stale connections that nobody uses; the others are closed when given back."""
        for session in [*self._queue.idle, *(session for _, session in self._spare)]:
            if session.stale:
                session.terminate()

    async def make_room(self) -> None:
        """Lower the limit by one connection, and close an idle one if there is one."""
        self._slots.shrink_to(self.open - 1)
        if self._spare:
            await self.put_back(self._spare.pop()[0])
        elif self._queue.checkedin():
            connection, _ = await _connect(self.engine, ping=False)
            await connection.close()

    async def close(self) -> None:
        """Close all idle connections."""
        await self.put_back_spares()
        await self.engine.dispose()

    def _keeps(self, session: Session) -> bool:
        few = self._slots.limit == self._slots.most or self.open <= self._slots.limit
        return few and not session.stale


class _Queue(AsyncAdaptedQueuePool):
    """A queue that closes connections rejected by `keeps` and does not hold records for them."""

    keeps: Callable[[Session], bool] = staticmethod(lambda _: True)

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 - SQLAlchemy's own
        super().__init__(*arguments, **more)
        self.idle = WeakSet[Session]()

    def _do_get(self) -> ConnectionPoolEntry:
        record = super()._do_get()
        if (session := _session_of_record(record)) is not None:
            self.idle.discard(session)
        return record

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        session = _session_of_record(record)
        if session is not None and self.keeps(session):
            self.idle.add(session)
            super()._do_return_conn(record)
            return
        try:
            record.close()
        finally:
            self._dec_overflow()

    def _close_connection(self, connection: Any, *, terminate: bool = False) -> None:  # noqa: ANN401 - SQLAlchemy's adapter
        """Skip the graceful close of a connection that is already closed.

        If that close is cancelled, SQLAlchemy loses the record and counts it as in use for ever.
        """
        if not connection.driver_connection.is_closed():
            super()._close_connection(connection, terminate=terminate)


def _session_of_record(record: ConnectionPoolEntry) -> Session | None:
    connection: Any = record.dbapi_connection
    return None if connection is None else connection.driver_connection


async def _connect(engine: AsyncEngine, *, ping: bool) -> Pooled:
    asked = _pinged.set(ping)
    try:
        connection = await engine.connect()
    finally:
        _pinged.reset(asked)
    return connection, await session_of(connection)


async def session_of(connection: AsyncConnection) -> Session:
    """Return the asyncpg session of a connection."""
    session: Any = (await connection.get_raw_connection()).driver_connection
    assert isinstance(session, Session)  # noqa: S101 - the pool opens no others
    return session


_pinged: ContextVar[bool] = ContextVar("pinged", default=True)


def _ping(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401 - SQLAlchemy's adapter
    """Check a pooled connection at checkout; on DisconnectionError the pool tries another."""
    if connection.driver_connection.stale:
        raise exc.DisconnectionError("a pooled connection leads to a server that takes no writes")
    if not _pinged.get():
        return
    try:
        connection.run_async(lambda driver: driver.execute("SELECT 1", timeout=PROBE_SECONDS))
    except DRIVER_ERRORS as error:
        connection.driver_connection.terminate()
        raise exc.DisconnectionError("a pooled connection has died") from error
