"""Whether upstream answers at all: what all calls of a client have met since its last answer.

A call that fails alone is tried again. Where every call fails, trying again only adds to what an
upstream in trouble has to bear, or to the reasons for a ban. So failures are counted over all
calls: after some in a row no call gets a second attempt, and once some different calls are among
them, no other call gets a first one. A single answer ends an outage.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ingestion.coingecko.errors import (
    NobodyAnswers,
    UpstreamError,
)

MOST_FAILURES = 6  # attempts in a row, over all calls
MOST_CALLS = 4  # different ones among them; or as many as attempts, where none is worth a second
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds between two attempts
# So long after the last failure, upstream deserves some patience again. Less than usual: scheduled
# refreshes that come every so often are to cost little while a ban or an outage lasts.
_FORGET_AFTER = 600.0  # seconds


class Outage:
    """The failures in a row of calls that end together: a client's. Make one per event loop.

    `answers` counts the answers of use. `clock` is in seconds and belongs to `sleep`.
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
        """Whether no call is worth a second attempt."""
        return self._in_a_row >= MOST_FAILURES

    @property
    def forbids_calls(self) -> bool:
        """Whether no other call is worth a first attempt."""
        calls = len(self._calls)
        return calls >= MOST_FAILURES or (self.forbids_retries and calls >= MOST_CALLS)

    @property
    def calls(self) -> int:
        """How many different calls have failed since the last answer."""
        return len(self._calls)

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Wait until an attempt may leave: while upstream fails, one after the other.

        Raises NobodyAnswers where it turns out meanwhile that it is no use.
        """
        if not self._in_a_row:
            yield
            return
        before = self.forbids_calls
        async with self._turn:
            if self._error is not None and self.forbids_calls and not before:
                raise NobodyAnswers.after(self._error, self.calls)
            if self._in_a_row:  # else another attempt was answered meanwhile
                await self._sleep(max(0.0, self._resume_at - self._clock()))
                yield
                return
        yield

    def begin(self) -> float:
        """Give the moment at which an attempt leaves, for `failed`."""
        return self._clock()

    def failed(self, call: str, began: float, error: UpstreamError | None = None) -> None:
        """Note that an attempt failed. Those that were under way together count once."""
        self._error = error
        now = self._clock()
        if now - self._failed_at > _FORGET_AFTER:
            self._in_a_row = min(self._in_a_row, MOST_FAILURES // 2)
            self._calls.clear()
        if call not in self._ignored:
            self._calls.add(call)
        self._in_a_row += began >= self._failed_at
        self._failed_at = now
        self._resume_at = now + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (self._in_a_row - 1))

    def failing(self) -> frozenset[str]:
        """The calls that have failed since the last answer."""
        return frozenset(self._calls)

    def ignore_failures_of(self, calls: frozenset[str] = frozenset()) -> None:
        """From now on take no failure of these calls, and of no others, for a sign of an outage."""
        self._ignored = calls

    def end(self) -> None:
        """Note that upstream said something sensible, be it no."""
        self._in_a_row = 0
        self._calls.clear()

    def answered(self) -> None:
        """Note an answer of use."""
        self.answers += 1
        self.end()
