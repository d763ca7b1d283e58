"""Makes calls wait until they can be sent."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from ingestion.quota.pace import Pace
from ingestion.quota.pace_store import LocalPaceStore, PaceStore, SharedPaceStore
from models.postgres.database import Database

_SLACK = 1.02  # calls arrive at upstream less evenly than they are sent
# After a longer wait, in seconds, the call checks whether another process has begun a pause. After
# a shorter one it does not: the call counts as one already in flight.
_LOOK_AFTER = 0.25
_TICK = 0.001  # seconds by which a sleep may end early

log = structlog.get_logger(__name__)


class Throttle:
    """Sends calls one by one, in order of arrival. Create one per event loop.

    Calls are `60 / requests_per_minute * 1.02` seconds apart; the first is sent at once. Upstream
    counts a sliding window of 60 seconds, so a token bucket of N per minute would not do: it sends
    N calls at once and N more within that minute.

    With a `database`, all throttles on that database share one pace, and an unavailable database
    raises DatabaseUnavailableError: no call is sent unthrottled. `sleep` and `clock` must belong
    together (default: the event loop's).
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
        self._left_over: float | None = None  # an unused departure of a cancelled call
        self._sleep = sleep

    @property
    def base_interval(self) -> float:
        """Seconds between two calls while upstream accepts them."""
        return self._store.pace.base_interval

    @property
    def interval(self) -> float:
        """Seconds between two calls now: longer than `base_interval` for some time after a 429."""
        return self._store.pace.interval

    @property
    def paused_until(self) -> float:
        """The end of the last pause, on the throttle's clock; 0.0 before the first pause."""
        return self._store.pace.paused_until

    @property
    def pause_left(self) -> float:
        """Seconds until the pause ends, 0.0 without a pause."""
        return self._store.pace.pause_left(self._clock())

    async def look(self) -> float:
        """Read the shared pace and return the seconds until a call could be sent."""
        await self._store.look()
        return self._store.pace.wait(self._clock())

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Wait until a call can be sent; the block counts as a call in flight.

        Yields the argument `slowdown` of `rate_limited` and `succeeded`.
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
                    if not self._queued:  # otherwise the next reservation stores it
                        await self._store.report()
        finally:
            self._queued -= queued

    async def rate_limited(
        self, retry_after: float | None, *, slowdown: int | None = None
    ) -> float:
        """Record a 429: all calls pause, and the interval is longer afterwards.

        Returns the seconds by which this extends the pause, 0.0 if another call's 429 already did.
        The sum over all calls is the time lost.
        """
        before = self._store.pace.slowdowns
        luck = random.random()  # noqa: S311 - jitter
        added = await self._store.rate_limited(retry_after, slowdown=slowdown, luck=luck)
        if self._store.pace.slowdowns > before:
            log.warning(
                "upstream.rate_limited",
                pause_seconds=round(self.pause_left, 1),
                interval_seconds=round(self.interval, 2),
            )
        return added

    def succeeded(self, *, slowdown: int | None = None) -> None:
        """Record a response: the interval returns to its base step by step."""
        self._store.succeeded(slowdown=slowdown)

    def charged(self) -> None:
        """Record a response with status 200, which costs a credit."""
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
            if self.pause_left <= _TICK:  # a 429 may have arrived during the wait
                return

    async def _reserve(self) -> float:
        """Reserve a departure, or reuse a future one of a cancelled call. Returns the seconds."""
        left_over, self._left_over = self._left_over, None
        now = self._clock()
        return left_over - now if left_over and left_over > now else await self._store.reserve()
