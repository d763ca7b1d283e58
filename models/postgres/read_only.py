"""Sessions that can write nothing: kept while there are no others, replaced when there are."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any, TypeVar

import structlog

from models.postgres.circuit_breaker import DatabaseUnavailableError
from models.postgres.session import Session

log = structlog.get_logger("coingraph.database")

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


class ReadOnlyWatch:
    """Watches for the moment when new sessions take writes, while any of `sessions` does not.

    A balancer may show a standby for a while, and a database may be read-only for a while: sessions
    that were opened then stay so for as long as they are open. One new session at a time, opened by
    `connect`, shows when that is over; then all that can write nothing become stale.
    """

    def __init__(
        self, sessions: Iterable[Session], connect: Callable[[], Awaitable[Session]]
    ) -> None:
        self._sessions = sessions
        self._connect = connect
        self._watching: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[bool] | None = None
        self._closed = False
        self.on_standby = False  # so what is read may be older than what is known elsewhere
        self.renewed: list[Callable[[], None]] = []  # called when sessions have become stale

    def note(self, session: Session) -> None:
        """Take note of a session that was opened, or that was refused a write."""
        if not session.read_only:
            return
        self.on_standby = self.on_standby or session.standby
        if self._watching is None and not self._closed:
            log.warning("the database takes no writes", standby=session.standby)
            self._watching = self._begin(self._watch())

    async def takes_writes(self) -> bool:
        """Ask on a new session, one for all who ask at once. Raises DatabaseUnavailableError."""
        if self._looking is None or self._looking.done():
            self._looking = self._begin(self._look())
            # all who ask may have gone by then
            self._looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._looking)

    def renew(self) -> None:
        """Make all sessions stale that can write nothing."""
        for session in tuple(self._sessions):
            session.stale = session.stale or session.read_only
        self.on_standby = False
        for notify in self.renewed:
            notify()

    async def close(self) -> None:
        self._closed = True
        tasks = [task for task in (self._watching, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def _begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin it in no request's context, as it outlives the one that happens to be first."""
        return asyncio.get_running_loop().create_task(work, context=Context())

    async def _look(self) -> bool:
        session = await self._connect()
        try:
            writable = not session.read_only
        finally:
            session.terminate()
        if writable:
            self.renew()
        return writable

    async def _watch(self) -> None:
        pause = _FIRST_PAUSE
        try:
            while True:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                with contextlib.suppress(DatabaseUnavailableError):
                    if await self.takes_writes():
                        log.info("the database takes writes again")
                        return
        finally:
            self._watching = None
