"""How fast we may call: evenly spaced, slower after an upstream says so.

Pure: state that is told what happened, on whatever clock the caller reads.
"""

import math
from dataclasses import dataclass

RECOVERY = 0.9  # of the interval, for each answer
LONGEST_PAUSE = 900.0  # seconds
_SLOWEST = 8  # times the base interval
_JITTER = 0.25


@dataclass(slots=True)
class Pace:
    """When calls may leave, in seconds.

    `stretch` is by how much the interval between two calls is longer than the base; calls leave
    no earlier than that after the `last_departure`. `slowdowns` counts how often upstream made us
    slower. A call remembers the count it left with, so that several calls refused together are
    one slowdown, and a call that left before one says nothing about the pace after it.
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
        return self.base_interval * self.stretch

    def pause_left(self, now: float) -> float:
        return max(0.0, self.paused_until - now)

    def wait(self, now: float) -> float:
        """Tell how many seconds the next call has to wait."""
        return max(self.last_departure + self.interval, self.paused_until, now) - now

    def depart(self, now: float) -> float:
        """Reserve the next departure; the seconds until then."""
        wait = self.wait(now)
        self.last_departure = now + wait
        return wait

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

    def succeeded(self, *, departed: int | None) -> None:
        """A call was answered: faster again, bit by bit, unless it left before the slowdown."""
        if departed is not None and departed < self.slowdowns:
            return
        self.refusals_in_a_row = 0
        self.stretch = max(1.0, self.stretch * RECOVERY)
