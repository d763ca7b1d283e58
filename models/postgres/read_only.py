"""Replaces read-only sessions as soon as new sessions take writes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import Context
from itertools import count
from typing import Any, TypeVar

import structlog

from models.backoff import pause_after
from models.postgres.circuit_breaker import DatabaseUnavailableError
from models.postgres.session import Session

log = structlog.get_logger("coingraph.database")

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


class ReadOnlyWatch:
    """Probes for sessions that take writes, while any of `sessions` does not.

    During a failover, a balancer may lead to a standby, or the database may be read-only. Sessions
    opened then stay read-only for as long as they are open. New sessions, opened with `connect` one
    at a time, show when that is over; then all read-only sessions become stale.
    """

    def __init__(
        self, sessions: Iterable[Session], connect: Callable[[], Awaitable[Session]]
    ) -> None:
        self._sessions = sessions
        self._connect = connect
        self._watching: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[bool] | None = None
        self._closed = False
        self.on_standby = False  # True if reads may be older than changes already notified
        self.renewed: list[Callable[[], None]] = []  # callbacks after sessions became stale

    def note(self, session: Session) -> None:
        """Start probing if this session, new or refused a write, is read-only."""
        if not session.read_only:
            return
        self.on_standby = self.on_standby or session.standby
        if self._watching is None and not self._closed:
            log.warning("the database takes no writes", standby=session.standby)
            self._watching = self._begin(self._watch())

    async def takes_writes(self) -> bool:
        """Return True if a new session takes writes. Concurrent callers share one session.

        Raises DatabaseUnavailableError.
        """
        if self._looking is None or self._looking.done():
            self._looking = self._begin(self._look())
            # retrieves the exception, as all callers may be cancelled by then
            self._looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._looking)

    def renew(self) -> None:
        """Mark all read-only sessions as stale."""
        for session in tuple(self._sessions):
            session.stale = session.stale or session.read_only
        self.on_standby = False
        for notify in self.renewed:
            notify()

    async def close(self) -> None:
        """Stop probing."""
        self._closed = True
        tasks = [task for task in (self._watching, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _any_read_only(self) -> bool:
        """Return True if a session that was opened after the last renewal is read-only."""
        return any(
            session.read_only and not session.stale and not session.is_closed()
            for session in tuple(self._sessions)
        )

    @staticmethod
    def _begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task in an empty context, as it outlives the request that happens to start it."""
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
        try:
            for failures in count(1):
                await asyncio.sleep(
                    pause_after(failures, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
                )
                with contextlib.suppress(DatabaseUnavailableError):
                    if await self.takes_writes() and not self._any_read_only():
                        log.info("the database takes writes again")
                        return
        finally:
            self._watching = None
