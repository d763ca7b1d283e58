"""How fast we may call: evenly spaced, slower after an upstream says so; and how often again.

`Pace` and `Patience` decide, as pure state that is told what happened. `Throttle` waits.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from aiolimiter import AsyncLimiter

from ingestion.errors import RateLimited, ServerFault, Unreachable

_SLACK = 1.02  # calls reach upstream less evenly than they leave here
_SLOWEST = 8  # times the base interval
_LONGEST_RETRY_AFTER = 900.0
_RECOVERY = 0.9
_JITTER = 0.25

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Pace:
    """When calls may leave: pure state, in seconds on whatever clock the caller reads.

    `slowdowns` counts how often upstream made us slower. A call remembers the count it left
    with, so that several calls refused together are one slowdown, and a call that left before
    one says nothing about the pace after it.
    """

    base_interval: float
    first_pause: float = 30.0
    max_pause: float = 600.0
    interval: float = field(init=False)
    paused_until: float = field(default=0.0, init=False)
    slowdowns: int = field(default=0, init=False)
    refusals_in_a_row: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.interval = self.base_interval

    def pause_left(self, now: float) -> float:
        return max(0.0, self.paused_until - now)

    def rate_limited(
        self, now: float, retry_after: float | None, *, departed: int | None, luck: float
    ) -> float:
        """A call was refused. Returns the seconds by which that lengthens the pause.

        `departed` is the count of slowdowns the call left with; `luck`, from 0 to 1, sets the
        jitter of a pause that upstream did not name.
        """
        if departed is None:  # nobody leaves during a pause, so that call left before it
            departed = self.slowdowns - (self.pause_left(now) > 0)
        known = departed < self.slowdowns
        if retry_after is not None:
            pause = min(max(retry_after, 0.0), _LONGEST_RETRY_AFTER)
        elif known:
            pause = 0.0
        else:
            doublings = min(self.refusals_in_a_row, 32)
            pause = min(self.max_pause, self.first_pause * 2**doublings * (1 + _JITTER * luck))
        if not known:
            self.slowdowns += 1
            self.refusals_in_a_row += 1
            self.interval = min(self.interval * 2, self.base_interval * _SLOWEST)
        added = max(0.0, now + pause - max(self.paused_until, now))
        self.paused_until = max(self.paused_until, now + pause)
        return added

    def succeeded(self, *, departed: int | None) -> None:
        """A call was answered: faster again, bit by bit, unless it left before the slowdown."""
        if departed is not None and departed < self.slowdowns:
            return
        self.refusals_in_a_row = 0
        self.interval = max(self.base_interval, self.interval * _RECOVERY)


class Patience:
    """Whether one call is worth another try: a backoff hook for stamina.

    `attempts` in all where upstream is unreachable or fails. Twice the retries where it says
    that we are too fast: the throttle's pause is the cure for that, so there is none here.
    """

    def __init__(self, attempts: int) -> None:
        self._faults_left = attempts - 1
        self._refusals_left = 2 * (attempts - 1)

    def __call__(self, error: Exception) -> bool | float:
        if isinstance(error, RateLimited):
            self._refusals_left -= 1
            return 0.0 if self._refusals_left >= 0 else False
        if isinstance(error, Unreachable | ServerFault):
            self._faults_left -= 1
            return self._faults_left >= 0
        return False


class Throttle:
    """Lets calls out one by one, in the order they asked. Make one per event loop.

    Calls are `60 / requests_per_minute * 1.02` seconds apart; the first goes at once. Upstream
    counts any 60 seconds, so a bucket of N per minute would not do: it lets N out at once and
    N more within that minute.

    `sleep` and `clock` serve the pauses after a 429 and belong together (default: the event
    loop's). The spacing always follows the event loop's time.
    """

    def __init__(
        self,
        requests_per_minute: float,
        *,
        max_in_flight: int = 4,
        first_pause: float = 30.0,
        max_pause: float = 600.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if not requests_per_minute > 0:
            raise ValueError("requests_per_minute must be more than 0")
        self._pace = Pace(60 / requests_per_minute * _SLACK, first_pause, max_pause)
        self._limiter = AsyncLimiter(1, self._pace.interval)
        self._in_flight = asyncio.Semaphore(max_in_flight)
        self._queue = asyncio.Lock()
        self._sleep = sleep
        self._clock = clock or (lambda: asyncio.get_running_loop().time())

    @property
    def base_interval(self) -> float:
        """Seconds between two calls while upstream is content."""
        return self._pace.base_interval

    @property
    def interval(self) -> float:
        """Seconds between two calls now: longer than `base_interval` for a while after a 429."""
        return self._pace.interval

    @property
    def paused_until(self) -> float:
        """When the last pause ends or ended, on the throttle's clock; 0.0 before the first."""
        return self._pace.paused_until

    @property
    def pause_left(self) -> float:
        """Seconds until calls may leave again: 0.0 while there is no pause."""
        return self._pace.pause_left(self._clock())

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Waits until a call may leave, and holds its place among those in flight.

        Yields what `rate_limited` and `succeeded` take as `departed`.
        """
        async with self._in_flight:
            async with self._queue:
                await self._depart()
            yield self._pace.slowdowns

    def rate_limited(self, retry_after: float | None, *, departed: int | None = None) -> float:
        """Upstream answered 429: everybody pauses, and is slower afterwards.

        Returns the seconds by which this lengthens the pause, 0.0 where another call's 429 has
        done so already: summed over all calls, the time lost.
        """
        before = self._pace.slowdowns
        luck = random.random()  # noqa: S311 - jitter
        added = self._pace.rate_limited(self._clock(), retry_after, departed=departed, luck=luck)
        if self._pace.slowdowns > before:
            log.warning(
                "upstream.rate_limited",
                pause_seconds=round(self.pause_left, 1),
                interval_seconds=round(self.interval, 2),
            )
        return added

    def succeeded(self, *, departed: int | None = None) -> None:
        """Upstream answered: the interval creeps back to its base."""
        self._pace.succeeded(departed=departed)

    async def _depart(self) -> None:
        while True:
            while (pause := self.pause_left) > 0:
                await self._sleep(pause)
            await self._limiter.acquire()
            if self.pause_left <= 0:  # a 429 may have come in while we waited for our turn
                break
        if self._limiter.time_period != self._pace.interval:
            # A limiter's rate is fixed. The new one is told of the call that leaves now.
            self._limiter = AsyncLimiter(1, self._pace.interval)
            await self._limiter.acquire()
