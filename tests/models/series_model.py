"""A series in plain Python: the rules of storing, one hour and one day at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from models.prices.write_latest import NewestPrice
from models.prices.write_series import Stored
from tests.models.storing import DAY, HOUR, Sample
from tests.recomputed import Near, day_of

Hour = tuple[datetime, float, float | None, float | None]


@dataclass
class SeriesModel:
    """What the tables should hold of one series."""

    hours: dict[datetime, Hour] = field(default_factory=dict)
    days: dict[date, tuple[Any, ...]] = field(default_factory=dict)
    latest: tuple[Any, ...] | None = None
    history_from: datetime | None = None
    charted: datetime | None = None  # the newest hour of a chart: it, and later ones, may move
    revision: int = 0

    def store(
        self,
        samples: Mapping[datetime, Sample],
        *,
        asked_from: datetime,
        replace_from: datetime | None,
        newest: NewestPrice | None,
    ) -> Stored:
        """Do what `store_series` should, and return what that changes."""
        before, days, latest = dict(self.hours), dict(self.days), self.latest
        for at, sample in samples.items():
            live = self.charted is not None and at >= self.charted
            replaced = replace_from is not None and at >= replace_from
            self.hours[at] = _merged(
                self.hours.get(at), at, sample, keep_earlier=not live and not replaced
            )
        if replace_from is not None:
            for at in [at for at in self.hours if at >= replace_from and at not in samples]:
                del self.hours[at]
        charted = max([*samples, *([self.charted] if self.charted else [])], default=None)
        self.charted = min(charted, max(self.hours)) if charted and self.hours else None
        self.history_from = min(asked_from, self.history_from or asked_from)
        self.make_days(self.history_from)
        if newest is not None:
            self.see(newest)
        self.revision += (before, days, latest) != (self.hours, self.days, self.latest)
        kept = before.keys() & self.hours.keys()
        return Stored(
            inserted=len(self.hours.keys() - before.keys()),
            corrected=sum(before[at] != self.hours[at] for at in kept),
            removed=len(before.keys() - self.hours.keys()),
            revision=self.revision,
        )

    def make_days(self, history_from: datetime) -> None:
        """Make all days of their hours."""
        by_day: dict[date, list[tuple[float, float | None, float | None]]] = {}
        for at in sorted(self.hours):
            if at.replace(hour=0) >= history_from:
                by_day.setdefault(at.date(), []).append(self.hours[at][1:])
        self.days = {day: day_of(hours) for day, hours in by_day.items()}

    def see(self, newest: NewestPrice) -> None:
        """Take in a newest price: it only moves forward."""
        seen, price, cap, volume = (
            newest.observed_at, newest.price, newest.market_cap, newest.volume,
        )  # fmt: skip
        if self.latest is not None:
            when, old_price, old_cap, old_volume, _ = self.latest
            if seen < when:
                return
            if seen == when:
                cap = old_cap if cap is None else cap
                volume = old_volume if volume is None else volume
                news = (cap is not None, volume is not None) != (
                    old_cap is not None, old_volume is not None,
                )  # fmt: skip
                if price == old_price and not news:
                    return
        past = self.hours.get((seen - DAY).replace(minute=0, second=0))
        change = None if past is None or not past[1] else Near((price / past[1] - 1) * 100)
        self.latest = (seen, price, cap, volume, change)


def _merged(old: Hour | None, at: datetime, sample: Sample, *, keep_earlier: bool) -> Hour:
    observed_at = at + timedelta(seconds=sample.late)
    if old is not None and old[0] < observed_at and keep_earlier:
        return old
    cap, volume = sample.cap, sample.volume
    if old is not None and old[0] == observed_at:
        cap = old[2] if cap is None else cap
        volume = old[3] if volume is None else volume
    return observed_at, sample.price, cap, volume


def hours_after(start: datetime, offsets: Mapping[int, Sample]) -> dict[datetime, Sample]:
    return {start + offset * HOUR: sample for offset, sample in offsets.items()}
