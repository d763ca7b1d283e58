"""Computes how upstream's responses change a series. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from models.prices.days import DAY_MICROS, day_numbers, days_of
from models.prices.gaps import AskedRange, count_asked
from models.prices.hours import Rows, merge, micros

_DAY_0 = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference between two states of a table: new and changed rows, and `gone` keys."""

    new: Rows
    changed: Rows
    gone: npt.NDArray[Any]

    def __bool__(self) -> bool:
        return bool(len(self.new) or len(self.changed) or len(self.gone))


def compare(stored: Rows, wanted: Rows) -> Changes:
    """Return the changes that turn `stored` into `wanted`. The first column of both is the key."""
    key, *others = wanted.dtype.names or ()
    if not len(stored):
        return Changes(wanted, wanted[:0], stored[key])
    _, old, new = np.intersect1d(stored[key], wanted[key], assume_unique=True, return_indices=True)
    differs = np.zeros(len(old), np.bool_)
    for column in others:
        before, after = stored[column][old], wanted[column][new]
        differs |= (before != after) & ~(np.isnan(before) & np.isnan(after))
    return Changes(np.delete(wanted, new), wanted[new[differs]], np.delete(stored[key], old))


@dataclass(frozen=True, slots=True)
class SeriesUpdate:
    """An update of one series. Times are microseconds since 1970.

    `given` holds the new hours as rows of `HOUR_ROW`; from `replace_from` on, all other hours are
    removed. Days are computed from hours if they begin at or after `history_from`. `cut_at` is the
    previous start of the history, None if it does not change. `charted_to` is the newest hour that
    came from a chart: later ones are from live prices. `most_lost` is the share of the stored hours
    that may be removed without a replacement. `asked` are the ranges that were requested.
    """

    given: Rows
    history_from: int
    cut_at: int | None = None
    replace_from: int | None = None
    charted_to: int | None = None
    most_lost: float = 1.0
    asked: Sequence[AskedRange] = ()

    def days(self) -> tuple[date, date] | None:
        """Return the days [first, end) to read, None for none. `date.max` means no upper limit."""
        moments = [int(each) for each in self.given["bucket"][[0, -1]]] if len(self.given) else []
        moments += [each for each in (self.cut_at, self.replace_from) if each is not None]
        moments += [micros(edge) for each in self.asked for edge in (each.start, each.end)]
        if not moments:
            return None
        first, last = (_DAY_0 + timedelta(edge(moments) // DAY_MICROS) for edge in (min, max))
        return first, date.max if self.replace_from is not None else last + timedelta(days=1)

    def changes(self, hours: Rows, days: Rows, gaps: Rows) -> tuple[Changes, Changes, Changes]:
        """Return the changes of the stored hours and days in `self.days()`, and of all gaps.

        Raises ReplacementTooSmallError if too many hours would be lost.
        """
        wanted = merge(hours, self.given, self.replace_from, charted_to=self.charted_to)
        changes = compare(hours, wanted)
        self._check_loss(hours, changes)
        touched = [changes.new["bucket"], changes.changed["bucket"], changes.gone]
        if self.cut_at is not None:  # the day that the history began within is known whole now
            touched.append(np.array([self.cut_at]))
        if self.replace_from is not None:  # recompute all days from then on
            stored = days["day"] * DAY_MICROS
            touched += [wanted["bucket"], stored[stored >= self.replace_from]]
        numbers = np.unique(day_numbers(np.concatenate(touched)))
        of_day = day_numbers(wanted["bucket"])
        # A day that the start of the history cuts in two is not made of hours: half of it would
        # pass for the whole. Like the days before, it has upstream's daily point or nothing.
        whole = np.isin(of_day, numbers) & (of_day * DAY_MICROS >= self.history_from)
        kept = np.isin(days["day"], numbers) & (days["day"] * DAY_MICROS >= self.history_from)
        made = compare(days[kept], days_of(wanted[whole]))
        counted = count_asked(gaps, self.asked, wanted["bucket"]) if self.asked else gaps
        return changes, made, compare(gaps, counted)

    def _check_loss(self, hours: Rows, changes: Changes) -> None:
        if self.replace_from is not None:
            known = int((hours["bucket"] >= self.replace_from).sum())
            check_loss(known, len(changes.gone), len(self.given), "hours", self.most_lost)


class ReplacementTooSmallError(Exception):
    """A replacement lacks so much of the series that upstream's response may be incomplete."""


_FEW = 3  # buckets that may always be lost


def check_loss(known: int, lost: int, given: int, what: str, most_lost: float) -> None:
    """Raise ReplacementTooSmallError if more than the share `most_lost` would be lost."""
    if lost > max(_FEW, most_lost * known):
        raise ReplacementTooSmallError(
            f"CoinGecko sent {given:,} {what} where {known:,} are stored, and {lost:,} of these "
            "would be lost: nothing was replaced."
        )


def compare_points(
    stored: Rows, points: Rows, replace_from: int | None, *, most_lost: float = 1.0
) -> Changes:
    """Return how daily points change the stored ones, which all precede the hourly history.

    With `replace_from`, in microseconds since 1970, stored points from then on that are not among
    `points` are removed, unless `points` is empty. Raises ReplacementTooSmallError if more than the
    share `most_lost` of them would be removed.
    """
    changes = compare(stored, points)
    lost = changes.gone[:0]
    if replace_from is not None and len(points):
        lost = changes.gone[changes.gone * DAY_MICROS >= replace_from]
        known = int((stored["day"] * DAY_MICROS >= replace_from).sum())
        check_loss(known, len(lost), len(points), "days", most_lost)
    return Changes(changes.new, changes.changed, lost)
