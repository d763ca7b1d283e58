"""Waiting for the moment at which a call may leave."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from ingestion.quota.pace import Pace
from ingestion.quota.pace_store import LocalPaceStore, PaceStore, SharedPaceStore
from models.postgres.database import Database

_SLACK = 1.02  # calls reach upstream less evenly than they leave here
# Who waits longer looks once more whether another process was told to pause. A call that leaves
# sooner than that is as one that is already under way.
_LOOK_AFTER = 0.25
_TICK = 0.001  # by which a sleep may end early

log = structlog.get_logger(__name__)


class Throttle:
    """Lets calls out one by one, in the order they asked. Make one per event loop.

    Calls are `60 / requests_per_minute * 1.02` seconds apart; the first goes at once. Upstream
    counts any 60 seconds, so a bucket of N per minute would not do: it lets N out at once and
    N more within that minute.

    With a `database`, all throttles of that database keep this pace together, and its being away
    raises DatabaseUnavailableError: no call leaves unthrottled. Without one, a throttle is alone.
    `sleep` and `clock` belong together (default: the event loop's).
    """

    def __init__(
        self,
        requests_per_minute: float,
        *,
        database: Database | None = None,
        max_in_flight: int = 4,
        first_pause: float = 30.0,
        max_pause: float = 600.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if not requests_per_minute > 0:
            raise ValueError("requests_per_minute must be more than 0")
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        pace = Pace(60 / requests_per_minute * _SLACK, first_pause, max_pause)
        self._store: PaceStore = (
            SharedPaceStore(database, pace, self._clock)
            if database
            else LocalPaceStore(pace, self._clock)
        )
        self._in_flight = asyncio.Semaphore(max_in_flight)
        self._queue = asyncio.Lock()
        self._queued = 0
        self._left_over: float | None = None  # a departure that nobody took, on our clock
        self._sleep = sleep

    @property
    def base_interval(self) -> float:
        """Seconds between two calls while upstream is content."""
        return self._store.pace.base_interval

    @property
    def interval(self) -> float:
        """Seconds between two calls now: longer than `base_interval` for a while after a 429."""
        return self._store.pace.interval

    @property
    def paused_until(self) -> float:
        """When the last pause ends or ended, on the throttle's clock; 0.0 before the first."""
        return self._store.pace.paused_until

    @property
    def pause_left(self) -> float:
        """Seconds until calls may leave again: 0.0 while there is no pause."""
        return self._store.pace.pause_left(self._clock())

    async def look(self) -> float:
        """See what other processes have made of the pace; the seconds until a call could leave."""
        await self._store.look()
        return self._store.pace.wait(self._clock())

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Waits until a call may leave, and holds its place among those in flight.

        Yields what `rate_limited` and `succeeded` take as `departed`.
        """
        self._queued += 1
        queued = True
        try:
            async with self._in_flight:
                async with self._queue:
                    self._queued -= 1
                    queued = False
                    await self._depart()
                try:
                    yield self._store.pace.slowdowns
                finally:
                    if not self._queued:  # else the next reservation tells
                        await self._store.report()
        finally:
            self._queued -= queued

    async def rate_limited(
        self, retry_after: float | None, *, departed: int | None = None
    ) -> float:
        """Upstream answered 429: everybody pauses, and is slower afterwards.

        Returns the seconds by which this lengthens the pause, 0.0 where another call's 429 has
        done so already: summed over all calls, the time lost.
        """
        before = self._store.pace.slowdowns
        luck = random.random()  # noqa: S311 - jitter
        added = await self._store.rate_limited(retry_after, departed=departed, luck=luck)
        if self._store.pace.slowdowns > before:
            log.warning(
                "upstream.rate_limited",
                pause_seconds=round(self.pause_left, 1),
                interval_seconds=round(self.interval, 2),
            )
        return added

    def succeeded(self, *, departed: int | None = None) -> None:
        """Upstream answered: the interval creeps back to its base."""
        self._store.succeeded(departed=departed)

    def charged(self) -> None:
        """Upstream answered with a 200, which costs a credit."""
        self._store.charged()

    async def _depart(self) -> None:
        while True:
            wait = await self._reserve()
            departure = self._clock() + wait
            try:
                if wait > 0:
                    await self._sleep(wait)
                if wait > _LOOK_AFTER:
                    await self._store.look()
            except asyncio.CancelledError:
                self._left_over = departure
                raise
            if self.pause_left <= _TICK:  # a 429 may have come in while we waited for our turn
                return

    async def _reserve(self) -> float:
        """Reserve a departure, or take one that a cancelled call has left and that is to come."""
        left_over, self._left_over = self._left_over, None
        now = self._clock()
        return left_over - now if left_over and left_over > now else await self._store.reserve()
