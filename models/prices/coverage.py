"""Computes which buckets of a series are present and missing. Pure; for queries and refreshes."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from models.prices.gaps import Evidence, Micros
from models.prices.granularity import Granularity, Numbered, Times, to_datetime


@dataclass(frozen=True, slots=True)
class Coverage:
    """The expected and present buckets of a range, and its gaps.

    `expected` and `present` are counts; `first` and `last` are the starts of the first and last
    present buckets. The arrays have one entry per gap, oldest first: the range [`starts`, `ends`)
    and the number of missing buckets, `lengths`; when the gap was first requested (`since`, NaT:
    never), how often (`times`), when it is due to be requested again (`until`, NaT: by the next
    refresh), and whether it is confirmed to be `upstream`'s. See models.prices.gaps.Evidence.
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
        """Return when the first waiting gap is due to be requested again; None if none waits."""
        waiting = self.until[~np.isnat(self.until)]
        return to_datetime(waiting.min()) if len(waiting) else None

    def with_evidence(self, found: Evidence) -> "Coverage":
        """Return a copy with the results of requesting these gaps."""
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
    """Compare the present buckets, in ascending order, with those that begin in [start, end).

    No bucket is expected before `begins`, the actual or wanted start of the history (None: no
    bucket at all). A bucket that has not ended at `now` is expected only if it is present.
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
    # Sentinels before and after the range turn gaps at its ends into gaps between two buckets.
    edged = np.concatenate(([first - 1], present, [max(expected_end, first)]))
    gaps = np.flatnonzero(np.diff(edged) > 1)
    return Coverage(
        expected=max(expected_end - first, 0),
        present=len(present),
        first=to_datetime(granularity.starts(present[0])) if len(present) else None,
        last=to_datetime(granularity.starts(present[-1])) if len(present) else None,
        starts=granularity.starts(edged[gaps] + 1),
        ends=granularity.starts(edged[gaps + 1]),
        lengths=edged[gaps + 1] - edged[gaps] - 1,
        since=_moments(np.zeros(len(gaps), np.int64)),
        times=np.zeros(len(gaps), np.int32),
        until=_moments(np.zeros(len(gaps), np.int64)),
        upstream=np.zeros(len(gaps), np.bool_),
    )
