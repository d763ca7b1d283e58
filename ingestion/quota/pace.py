"""The rate of calls: evenly spaced, and slower after a 429.

Pure: the caller reports events and supplies the time, on a clock of its choice.
"""

import math
from dataclasses import dataclass

RECOVERY = 0.9  # factor on the interval per successful call
LONGEST_PAUSE = 900.0  # seconds
_SLOWEST = 8  # the most by which the base interval is stretched
_JITTER = 0.25


@dataclass(slots=True)
class Pace:
    """Decides when calls are sent. All times and intervals are in seconds.

    `stretch` is the factor on `base_interval`; a call is sent at least `interval` after
    `last_departure`. `slowdowns` counts the slowdowns by upstream. A call keeps the count at which
    it was sent, so that several calls refused together cause one slowdown, and a call sent before
    a slowdown does not affect the rate after it.
    """

    base_interval: float
    first_pause: float = 30.0
    max_pause: float = 600.0
    stretch: float = 1.0
    last_departure: float = -math.inf
    paused_until: float = 0.0
    slowdowns: int = 0
    refusals_in_a_row: int = 0

    @property
    def interval(self) -> float:
        """Seconds between two calls."""
        return self.base_interval * self.stretch

    def pause_left(self, now: float) -> float:
        """Return the seconds until the pause ends, 0.0 without a pause."""
        return max(0.0, self.paused_until - now)

    def wait(self, now: float) -> float:
        """Return the seconds until the next call can be sent."""
        return max(self.last_departure + self.interval, self.paused_until, now) - now

    def depart(self, now: float) -> float:
        """Reserve the next departure and return the seconds until then."""
        wait = self.wait(now)
        self.last_departure = now + wait
        return wait

    def rate_limited(
        self, now: float, retry_after: float | None, *, slowdown: int | None, luck: float
    ) -> float:
        """Record a refused call. Returns the seconds by which this extends the pause.

        `slowdown` is the count of slowdowns when the call was sent. `luck`, from 0 to 1, sets the
        jitter of a pause whose length upstream did not name.
        """
        if slowdown is None:  # no call is sent during a pause, so this one was sent before it
            slowdown = self.slowdowns - (self.pause_left(now) > 0)
        known = slowdown < self.slowdowns
        if retry_after is not None:
            pause = min(max(retry_after, 0.0), LONGEST_PAUSE)
        elif known:
            pause = 0.0
        else:
            doublings = min(self.refusals_in_a_row, 32)
            pause = min(self.max_pause, self.first_pause * 2**doublings * (1 + _JITTER * luck))
        if not known:
            self.slowdowns += 1
            self.refusals_in_a_row += 1
            self.stretch = min(self.stretch * 2, _SLOWEST)
        added = max(0.0, now + pause - max(self.paused_until, now))
        self.paused_until = max(self.paused_until, now + pause)
        return added

    def succeeded(self, *, slowdown: int | None) -> None:
        """Record a successful call: shortens the interval, unless it was sent before a slowdown."""
        if slowdown is not None and slowdown < self.slowdowns:
            return
        self.refusals_in_a_row = 0
        self.stretch = max(1.0, self.stretch * RECOVERY)
