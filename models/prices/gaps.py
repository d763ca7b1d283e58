"""What upstream was asked for and did not give: since when, how often, and when to ask again. Pure.

Upstream's silence is never proof. What it did not have is asked for again by time, never by count:
at every refresh within the first hour, then after hours, a day, days, weeks; never never.
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

# Half-open ranges of whole hours (or days); all times in microseconds since 1970. `asked` counts
# the asks, those within an hour of each other as one; `answered` those of them that an answer with
# prices left out.
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

# How long the silence has lasted when it was last asked about, and the pause until the next ask.
# docs/operations.md has these as a table, and what they cost.
_LASTED = np.array([1, 24, 7 * 24, 28 * 24, 91 * 24]) * HOUR_MICROS
_PAUSES = np.array([0, 6, 24, 3 * 24, 7 * 24, 28 * 24]) * HOUR_MICROS

# So long, and so often, upstream's answers leave something out that is called upstream's own gap.
CONFIRMED_MICROS = 7 * DAY_MICROS
CONFIRMED_ANSWERS = 5


@dataclass(frozen=True, slots=True)
class AskedRange:
    """A range that upstream was asked for at a moment.

    `answered` is True for an answer that is evidence of what it leaves out: one with prices. An
    empty answer and a refusal are none.
    """

    start: datetime
    end: datetime
    at: datetime
    answered: bool = True


def times_in(gaps: Rows, unit: int = HOUR_MICROS) -> Micros:
    """Give the start of each hour (or day, by `unit`) of these gaps."""
    spans = [np.arange(gap["starts"], gap["ends"], unit) for gap in gaps]
    return np.concatenate(spans) if spans else np.empty(0, np.int64)


def count_asked(
    gaps: Rows, asked: Sequence[AskedRange], present: Micros, unit: int = HOUR_MICROS
) -> Rows:
    """Return the gaps of a series after upstream was asked once more.

    `present` are the buckets that are stored in the ranges asked for. The hour that a range ends
    within is not over, and so no gap yet.
    """
    ranges = [(-(-micros(ask.start) // unit), micros(ask.end) // unit, ask) for ask in asked]
    ranges = [each for each in ranges if each[0] < each[1]]
    edges = [*(gaps["starts"] // unit).tolist(), *(gaps["ends"] // unit).tolist()]
    edges += [edge for first, last, _ in ranges for edge in (first, last)]
    if not edges:
        return gaps[:0]
    first, last = min(edges), max(edges)
    units = np.zeros(last - first, GAP_ROW)  # one row for each hour or day; asked 0: none yet
    for gap in gaps:
        units[gap["starts"] // unit - first : gap["ends"] // unit - first] = gap
    for start, stop, ask in ranges:
        _ask(units[start - first : stop - first], micros(ask.at), answered=ask.answered)
    there = present // unit - first
    units["asked"][there[(there >= 0) & (there < len(units))]] = 0
    return _runs(units, first, unit)


def _ask(units: Rows, at: int, *, answered: bool) -> None:
    """Count one more ask in place. Within an hour of the one before, it changes nothing.

    What a clock that was ahead has counted begins again.
    """
    new = (units["asked"] == 0) | (units["asked_at"] - at > HOUR_MICROS)
    units["asked"] = np.where(new, 0, units["asked"])
    counts = new | (at - units["asked_at"] >= HOUR_MICROS)
    units["answered"] = np.where(new, 0, units["answered"]) + (counts & answered)
    units["asked_since"] = np.where(new, at, units["asked_since"])
    units["asked_at"] = np.where(counts, at, units["asked_at"])
    units["asked"] += counts


def _runs(units: Rows, first: int, unit: int) -> Rows:
    """Make a row of each run of units that were asked for alike; `first` numbers the first unit."""
    differs = np.ones(len(units), np.bool_)
    differs[1:] = np.any([units[name][1:] != units[name][:-1] for name in _OF_ASKING], axis=0)
    starts = np.flatnonzero(differs)
    runs = units[starts]
    runs["starts"] = (starts + first) * unit
    runs["ends"] = (np.append(starts[1:], len(units)) + first) * unit
    return runs[runs["asked"] > 0]


def next_asks(gaps: Rows, now: int) -> Micros:
    """Give the moment from which each gap is asked for again. In the first hour: at once.

    So is what was asked for at a moment that is still to come, by a clock that was ahead.
    """
    lasted = gaps["asked_at"] - gaps["asked_since"]
    asks = gaps["asked_at"] + _PAUSES[np.searchsorted(_LASTED, lasted, side="right")]
    due: Micros = np.where(gaps["asked_at"] - now > HOUR_MICROS, now, asks)
    return due


def confirmed(gaps: Rows) -> npt.NDArray[np.bool_]:
    """Tell which gaps upstream's answers have shown long and often enough to call them its own."""
    lasted = gaps["asked_at"] - gaps["asked_since"] >= CONFIRMED_MICROS
    often: npt.NDArray[np.bool_] = lasted & (gaps["answered"] >= CONFIRMED_ANSWERS)
    return often


def covers(gaps: Rows, start: int, end: int) -> bool:
    """Return True if these gaps, which do not overlap, hold all of [start, end)."""
    return missing_micros(gaps, start, end) == max(end - start, 0)


def missing_micros(gaps: Rows, start: int, end: int) -> int:
    """Return how much of [start, end) these gaps take, in microseconds."""
    spans = np.minimum(gaps["ends"], end) - np.maximum(gaps["starts"], start)
    return int(np.maximum(spans, 0).sum(dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What asking showed of some gaps, an entry for each.

    `since` and `until` are microseconds since 1970: when a part of the gap was first asked for,
    and when a part is asked for again; 0 where none was asked for, or where the next refresh asks.
    `times` is how often the part asked for most often was. `upstream`: see `confirmed`.
    """

    since: Micros
    times: npt.NDArray[np.int32]
    until: Micros
    upstream: npt.NDArray[np.bool_]


def evidence(gaps: Rows, starts: Micros, ends: Micros, now: int) -> Evidence:
    """Sum up the rows `gaps`, by rising time, for each of the ranges [starts, ends) at `now`."""
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
    """Give how much of the time before each moment is in these gaps."""
    before = np.append(0, np.cumsum(gaps["ends"] - gaps["starts"]))
    place = np.searchsorted(gaps["starts"], moments, side="left")
    inside = np.maximum(np.append(0, gaps["ends"])[place] - moments, 0)
    total: Micros = before[place] - inside
    return total
