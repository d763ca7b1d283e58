"""Gaps: what was requested from upstream and not received, and when to request it again. Pure.

A missing price is never proof that upstream has none. A gap is requested again by time, not by
count: at every refresh within the first hour, then after hours, days and weeks, without end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from models.prices.hours import Rows, micros

HOUR_MICROS = 3_600_000_000
DAY_MICROS = 24 * HOUR_MICROS
Micros = npt.NDArray[np.int64]

# A gap is a half-open range of whole hours (or days); times are microseconds since 1970. `asked`
# counts the requests between `asked_since` and `asked_at`; those within an hour of each other count
# once. `answered` counts those whose response had prices but left the gap out.
GAP_ROW = np.dtype(
    [
        ("starts", np.int64),
        ("ends", np.int64),
        ("asked", np.int32),
        ("answered", np.int32),
        ("asked_since", np.int64),
        ("asked_at", np.int64),
    ]
)

_OF_ASKING = ("asked", "answered", "asked_since", "asked_at")

# The pause until the next request (_PAUSES), by the time between the first and the last one
# (_LASTED). docs/operations.md has these as a table, with their cost.
_LASTED = np.array([1, 24, 7 * 24, 28 * 24, 91 * 24]) * HOUR_MICROS
_PAUSES = np.array([0, 6, 24, 3 * 24, 7 * 24, 28 * 24]) * HOUR_MICROS

# A gap is confirmed to be upstream's own once this many responses have left it out over this time.
CONFIRMED_MICROS = 7 * DAY_MICROS
CONFIRMED_ANSWERS = 5


@dataclass(frozen=True, slots=True)
class AskedRange:
    """A range that was requested at the time `at`.

    `answered` is True if the response had prices, and so is evidence of what it leaves out. An
    empty response or a refusal is not.
    """

    start: datetime
    end: datetime
    at: datetime
    answered: bool = True


def times_in(gaps: Rows, unit: int = HOUR_MICROS) -> Micros:
    """Return the start of each hour (or day, by `unit`) in these gaps."""
    spans = [np.arange(gap["starts"], gap["ends"], unit) for gap in gaps]
    return np.concatenate(spans) if spans else np.empty(0, np.int64)


def count_asked(
    gaps: Rows, asked: Sequence[AskedRange], present: Micros, unit: int = HOUR_MICROS
) -> Rows:
    """Return the gaps of a series after these ranges were requested.

    `present` holds the starts of the stored buckets in these ranges. The bucket in which a range
    ends is not complete, and so is not a gap yet.
    """
    ranges = [(-(-micros(ask.start) // unit), micros(ask.end) // unit, ask) for ask in asked]
    ranges = [each for each in ranges if each[0] < each[1]]
    edges = [*(gaps["starts"] // unit).tolist(), *(gaps["ends"] // unit).tolist()]
    edges += [edge for first, last, _ in ranges for edge in (first, last)]
    if not edges:
        return gaps[:0]
    first, last = min(edges), max(edges)
    units = np.zeros(last - first, GAP_ROW)  # one row per hour or day; asked is 0: not a gap
    for gap in gaps:
        units[gap["starts"] // unit - first : gap["ends"] // unit - first] = gap
    for start, stop, ask in ranges:
        _ask(units[start - first : stop - first], micros(ask.at), answered=ask.answered)
    there = present // unit - first
    units["asked"][there[(there >= 0) & (there < len(units))]] = 0
    return _runs(units, first, unit)


def _ask(units: Rows, at: int, *, answered: bool) -> None:
    """Count one request, in place; it counts only if the previous one is an hour or more ago.

    Counts made with a clock that was ahead start again from zero.
    """
    new = (units["asked"] == 0) | (units["asked_at"] - at > HOUR_MICROS)
    units["asked"] = np.where(new, 0, units["asked"])
    counts = new | (at - units["asked_at"] >= HOUR_MICROS)
    units["answered"] = np.where(new, 0, units["answered"]) + (counts & answered)
    units["asked_since"] = np.where(new, at, units["asked_since"])
    units["asked_at"] = np.where(counts, at, units["asked_at"])
    units["asked"] += counts


def _runs(units: Rows, first: int, unit: int) -> Rows:
    """Merge adjacent units with equal counts into rows; `first` is the number of the first unit."""
    differs = np.ones(len(units), np.bool_)
    differs[1:] = np.any([units[name][1:] != units[name][:-1] for name in _OF_ASKING], axis=0)
    starts = np.flatnonzero(differs)
    runs = units[starts]
    runs["starts"] = (starts + first) * unit
    runs["ends"] = (np.append(starts[1:], len(units)) + first) * unit
    return runs[runs["asked"] > 0]


def next_asks(gaps: Rows, now: int) -> Micros:
    """Return when each gap is due to be requested again; in the first hour, at once.

    A gap whose last request is in the future, from a clock that was ahead, is due at once too.
    """
    lasted = gaps["asked_at"] - gaps["asked_since"]
    asks = gaps["asked_at"] + _PAUSES[np.searchsorted(_LASTED, lasted, side="right")]
    due: Micros = np.where(gaps["asked_at"] - now > HOUR_MICROS, now, asks)
    return due


def confirmed(gaps: Rows) -> npt.NDArray[np.bool_]:
    """Return a mask of the gaps that are confirmed to be upstream's own."""
    lasted = gaps["asked_at"] - gaps["asked_since"] >= CONFIRMED_MICROS
    often: npt.NDArray[np.bool_] = lasted & (gaps["answered"] >= CONFIRMED_ANSWERS)
    return often


def covers(gaps: Rows, start: int, end: int) -> bool:
    """Return True if these gaps, which do not overlap, cover all of [start, end)."""
    return missing_micros(gaps, start, end) == max(end - start, 0)


def missing_micros(gaps: Rows, start: int, end: int) -> int:
    """Return how much of [start, end) these gaps cover, in microseconds."""
    spans = np.minimum(gaps["ends"], end) - np.maximum(gaps["starts"], start)
    return int(np.maximum(spans, 0).sum(dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Evidence:
    """The results of requesting some gaps: arrays with one entry per gap.

    `since` and `until` are microseconds since 1970: when any part of the gap was first requested
    (0: never), and when a part is due to be requested again (0: by the next refresh). `times` is
    the number of requests of the part requested most often. `upstream` is True for confirmed gaps.
    """

    since: Micros
    times: npt.NDArray[np.int32]
    until: Micros
    upstream: npt.NDArray[np.bool_]


def evidence(gaps: Rows, starts: Micros, ends: Micros, now: int) -> Evidence:
    """Combine the rows `gaps`, in ascending order, for each of the ranges [starts, ends)."""
    lows = np.searchsorted(gaps["ends"], starts, side="right")
    highs = np.searchsorted(gaps["starts"], ends, side="left")
    some = lows < highs
    since, until = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    times, upstream = np.zeros(len(starts), np.int32), np.zeros(len(starts), np.bool_)
    if some.any():
        pairs = np.column_stack((lows[some], highs[some])).ravel()
        lengths = _covered(gaps, ends) - _covered(gaps, starts)
        whole = lengths == ends - starts

        def reduced(operation: np.ufunc, values: npt.NDArray[np.generic]) -> Any:  # noqa: ANN401 - as the ufunc gives it
            return operation.reduceat(np.append(values, values[-1:]), pairs)[::2]

        since[some] = reduced(np.minimum, gaps["asked_since"])
        times[some] = reduced(np.maximum, gaps["asked"])
        again = reduced(np.minimum, next_asks(gaps, now))
        until[some] = np.where(whole[some] & (again > now), again, 0)
        upstream[some] = whole[some] & reduced(np.logical_and, confirmed(gaps))
    return Evidence(since, times, until, upstream)


def _covered(gaps: Rows, moments: Micros) -> Micros:
    """Return how many microseconds before each moment are covered by these gaps."""
    before = np.append(0, np.cumsum(gaps["ends"] - gaps["starts"]))
    place = np.searchsorted(gaps["starts"], moments, side="left")
    inside = np.maximum(np.append(0, gaps["ends"])[place] - moments, 0)
    total: Micros = before[place] - inside
    return total
