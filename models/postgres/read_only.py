"""Sessions that can write nothing: kept while there are no others, replaced when there are."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

import structlog

from models.availability import DatabaseUnavailableError
from models.postgres.session import Session

log = structlog.get_logger("coingraph.database")

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
        self.on_standby = False  # so what is read may be older than what is known elsewhere
        self.renewed: list[Callable[[], None]] = []  # called when sessions have become stale

    def note(self, session: Session) -> None:
        """Take note of a session that was opened, or that was refused a write."""
        if not session.read_only:
            return
        self.on_standby = self.on_standby or session.standby
        if self._watching is None:
            log.warning("the database takes no writes", standby=session.standby)
            self._watching = asyncio.create_task(self._watch())

    async def takes_writes(self) -> bool:
        """Ask on a new session, one for all who ask at once. Raises DatabaseUnavailableError."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    def renew(self) -> None:
        """Make all sessions stale that can write nothing."""
        for session in tuple(self._sessions):
            session.stale = session.stale or session.read_only
        self.on_standby = False
        for notify in self.renewed:
            notify()

    async def close(self) -> None:
        tasks = [task for task in (self._watching, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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
