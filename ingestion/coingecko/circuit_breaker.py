"""Detects an outage of upstream from the consecutive failures of all calls of a client.

A single failing call is retried. If every call fails, retries only add load to an upstream that is
already down, or prolong a ban. Failures are therefore counted over all calls. After
`MOST_FAILURES` consecutive failures, no call is retried. Once the failures come from `MOST_CALLS`
different calls, no further call is attempted. A single response ends the outage.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ingestion.coingecko.errors import (
    UpstreamDown,
    UpstreamError,
)
from models.backoff import pause_after

MOST_FAILURES = 6  # consecutive failed attempts, over all calls
MOST_CALLS = 4  # different calls among the failed attempts
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds between two attempts
# Seconds after the last failure until calls are retried again. Half of the failures still count,
# so that periodic refreshes cost few calls while a ban or an outage lasts.
_FORGET_AFTER = 600.0


class CircuitBreaker:
    """Counts the consecutive failures of one client. Create one per event loop.

    `answers` counts the usable responses. `clock` returns seconds on the clock that `sleep` uses.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.answers = 0
        self._clock = clock
        self._sleep = sleep
        self._in_a_row = 0
        self._calls: set[str] = set()
        self._ignored: frozenset[str] = frozenset()
        self._error: UpstreamError | None = None  # the last one
        self._failed_at = self._resume_at = -_FORGET_AFTER
        self._turn = asyncio.Lock()

    @property
    def forbids_retries(self) -> bool:
        """True if failed calls are not retried."""
        return self._in_a_row >= MOST_FAILURES

    @property
    def forbids_calls(self) -> bool:
        """True if no further call is attempted."""
        calls = len(self._calls)
        return calls >= MOST_FAILURES or (self.forbids_retries and calls >= MOST_CALLS)

    @property
    def calls(self) -> int:
        """The number of different calls that have failed since the last response."""
        return len(self._calls)

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Enclose one attempt. During an outage, attempts run one after the other, with pauses.

        Raises UpstreamDown if `forbids_calls` becomes true while the attempt waits.
        """
        if not self._in_a_row:
            yield
            return
        before = self.forbids_calls
        async with self._turn:
            if self._error is not None and self.forbids_calls and not before:
                raise UpstreamDown.after(self._error, self.calls)
            if self._in_a_row:  # otherwise another attempt has succeeded meanwhile
                await self._sleep(max(0.0, self._resume_at - self._clock()))
                yield
                return
        yield

    def begin(self) -> float:
        """Return the current time, to be passed to `failed` if the attempt fails."""
        return self._clock()

    def failed(self, call: str, began: float, error: UpstreamError | None = None) -> None:
        """Record a failed attempt of `call`. Attempts that were in flight together count once."""
        self._error = error
        now = self._clock()
        if now - self._failed_at > _FORGET_AFTER:
            self._in_a_row = min(self._in_a_row, MOST_FAILURES // 2)
            self._calls.clear()
        if call not in self._ignored:
            self._calls.add(call)
        self._in_a_row += began >= self._failed_at
        self._failed_at = now
        self._resume_at = now + pause_after(
            self._in_a_row, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE
        )

    def failing(self) -> frozenset[str]:
        """Return the calls that have failed since the last response."""
        return frozenset(self._calls)

    def ignore_failures_of(self, calls: frozenset[str] = frozenset()) -> None:
        """Stop counting failures of exactly these calls as signs of an outage."""
        self._ignored = calls

    def end(self) -> None:
        """Record that upstream responded deliberately, even if it refused the call."""
        self._in_a_row = 0
        self._calls.clear()

    def answered(self) -> None:
        """Record a usable response."""
        self.answers += 1
        self.end()
