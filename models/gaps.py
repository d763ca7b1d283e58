"""Hours that upstream was asked for and did not give, and how often. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from models.hours import Rows, micros

HOUR_MICROS = 3_600_000_000
# Half-open ranges of hours, in microseconds since 1970.
GAP_ROW = np.dtype([("starts", np.int64), ("ends", np.int64), ("asked", np.int32)])
# Asked for so often, an hour is taken for one that upstream does not have.
SETTLED = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """A range that upstream was asked for, and answered.

    `times` tells how much an hour of it that was not given is to count: `SETTLED` where that
    leaves no doubt, 1 where it may be a passing fault.
    """

    start: datetime
    end: datetime
    times: int = 1


def hours_in(gaps: Rows) -> npt.NDArray[np.int64]:
    """Give the start of each hour of these gaps, in microseconds since 1970."""
    spans = [np.arange(gap["starts"], gap["ends"], HOUR_MICROS) for gap in gaps]
    return np.concatenate(spans) if spans else np.empty(0, np.int64)


def count_asked(gaps: Rows, asked: Sequence[Asked], present: npt.NDArray[np.int64]) -> Rows:
    """Work out the gaps of a series after upstream was asked once more.

    `present` are the buckets that are stored in the ranges asked for. The hour that a range ends
    within is not over, and so no gap yet.
    """
    spans = [(int(each["starts"]), int(each["ends"]), int(each["asked"])) for each in gaps]
    spans += [(micros(each.start), micros(each.end), each.times) for each in asked]
    hours = [(start // HOUR_MICROS, end // HOUR_MICROS, times) for start, end, times in spans]
    hours = [span for span in hours if span[0] < span[1]]
    if not hours:
        return gaps[:0]
    first, last = min(span[0] for span in hours), max(span[1] for span in hours)
    counts = np.zeros(last - first, np.int64)
    for start, stop, times in hours:
        counts[start - first : stop - first] += times
    there = present // HOUR_MICROS - first
    counts[there[(there >= 0) & (there < len(counts))]] = 0
    return _runs(np.minimum(counts, SETTLED), first)


def _runs(counts: npt.NDArray[np.int64], first: int) -> Rows:
    """Make a row of each run of equal counts but 0; `first` is the hour of the first of them."""
    edges = np.flatnonzero(np.diff(counts, prepend=0, append=0))
    value = counts[edges[:-1]]
    runs = np.empty(int((value > 0).sum()), GAP_ROW)
    runs["starts"] = (edges[:-1][value > 0] + first) * HOUR_MICROS
    runs["ends"] = (edges[1:][value > 0] + first) * HOUR_MICROS
    runs["asked"] = value[value > 0]
    return runs
