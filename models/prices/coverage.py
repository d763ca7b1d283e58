"""What is there of a series, and what is missing. Pure: answers and refreshes count with it."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from models.prices.gaps import Evidence, Micros
from models.prices.granularity import Granularity, Numbered, Times, to_datetime


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many buckets of a range there should be and are, and each run of those that are not.

    `starts`, `ends` and `lengths` are arrays with an entry for each gap, the oldest first:
    half-open ranges of time, and how many buckets are missing in them. So are what is known of
    asking upstream for it: `since` when (NaT: never), how many `times`, from when on it is asked
    for again (`until`, NaT: by the next refresh), and whether it is `upstream`'s own: see
    models.prices.gaps.Evidence.
    """

    expected: int
    present: int
    first: datetime | None
    last: datetime | None
    starts: Times
    ends: Times
    lengths: Numbered
    since: Times
    times: npt.NDArray[np.int32]
    until: Times
    upstream: npt.NDArray[np.bool_]

    def next_due(self) -> datetime | None:
        """Return when the first waiting gap is to be asked for again, None without any."""
        waiting = self.until[~np.isnat(self.until)]
        return to_datetime(waiting.min()) if len(waiting) else None

    def with_evidence(self, found: Evidence) -> "Coverage":
        """Add what asking upstream for these gaps showed."""
        return replace(
            self,
            since=_moments(found.since),
            times=found.times,
            until=_moments(found.until),
            upstream=found.upstream,
        )


def _moments(micros: Micros) -> Times:
    times: Times = micros.astype("datetime64[us]")
    times[micros == 0] = np.datetime64("NaT", "us")
    return times


def measure(
    granularity: Granularity,
    timestamps: Times,
    *,
    start: datetime,
    end: datetime,
    begins: datetime | None,
    now: datetime,
) -> Coverage:
    """Compare the buckets that are there, oldest first, with those that begin in [start, end).

    Nothing is expected before the bucket of `begins`, where the series' history starts or is
    wanted to (None: nothing at all). A bucket that is not over yet at `now` counts only where it is
    there: its price may still come.
    """
    first, last = granularity.ceil(start), granularity.ceil(end)
    present = granularity.numbers(timestamps)
    present = present[(present >= first) & (present < last)]
    over = min(last, granularity.floor(now))
    expected_end = max(over, int(present[-1]) + 1) if len(present) else over
    if begins is None:
        expected_end = first
    else:
        first = max(first, granularity.floor(begins))
    present = present[present >= first]
    # One before the range and one behind it, so that a hole at either end is one between two.
    edged = np.concatenate(([first - 1], present, [max(expected_end, first)]))
    holes = np.flatnonzero(np.diff(edged) > 1)
    return Coverage(
        expected=max(expected_end - first, 0),
        present=len(present),
        first=to_datetime(granularity.starts(present[0])) if len(present) else None,
        last=to_datetime(granularity.starts(present[-1])) if len(present) else None,
        starts=granularity.starts(edged[holes] + 1),
        ends=granularity.starts(edged[holes + 1]),
        lengths=edged[holes + 1] - edged[holes] - 1,
        since=_moments(np.zeros(len(holes), np.int64)),
        times=np.zeros(len(holes), np.int32),
        until=_moments(np.zeros(len(holes), np.int64)),
        upstream=np.zeros(len(holes), np.bool_),
    )
