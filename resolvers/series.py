"""The latest prices, and how recent and complete each series is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from models.history import DAY, HOUR, TrackingScope, floor_day, floor_hour
from models.postgres.database import Database
from models.prices.answered_hours import AskedGaps, asked_gaps, begins_at
from models.prices.gaps import missing_micros
from models.prices.hours import Rows, micros
from models.prices.write_latest import MOST_AHEAD
from models.series import LatestFacts, SeriesWithLatest, latest_of, series_with_latest
from models.tables import Series
from resolvers.cache_dependencies import CacheDependencies
from resolvers.names import known_names

_NEARLY_WHOLE = 0.9  # of the history; CoinGecko lacks about 1 % of the hours


@dataclass(frozen=True, slots=True)
class Missing:
    """The number of expected hours and days of a history, and how many are missing."""

    hours: int = 0
    days: int = 0
    hours_wanted: int = 0
    days_wanted: int = 0

    def sentence(self) -> str | None:
        """Describe what is missing; None if the history is nearly complete."""
        parts = [
            f"{missing:,} of {wanted:,} {unit}"
            for missing, wanted, unit in (
                (self.hours, self.hours_wanted, "hours"),
                (self.days, self.days_wanted, "days"),
            )
            if missing > (1 - _NEARLY_WHOLE) * wanted
        ]
        if not parts:
            return None
        return (
            f"Of the configured history, {' and '.join(parts)} are missing: "
            "`coverage` shows which, and when they are requested again."
        )


@dataclass(frozen=True, slots=True)
class SeriesFreshness:
    """A series, its latest price, and the reason why it is stale (None: it is not).

    `missing` counts the gaps in its history.
    """

    row: SeriesWithLatest
    reason: str | None
    missing: Missing

    @property
    def lacking(self) -> str | None:
        """A sentence about the missing history; None if little is missing."""
        return self.missing.sentence()


async def latest(
    database: Database,
    dependencies: CacheDependencies,
    coins: Sequence[str] | None,
    currencies: Sequence[str] | None,
) -> list[LatestFacts]:
    """Return the latest prices of these series. A series without a price is left out.

    Raises NotFoundError and BadInputError.
    """
    dependencies.add_catalogue()
    coin_ids, codes = await known_names(database, coins, currencies)
    rows = await latest_of(database, coin_ids, codes)
    dependencies.add_series(row.series_id for row in rows)  # including those without a price
    return [row for row in rows if row.observed_at is not None]


async def status(
    database: Database,
    dependencies: CacheDependencies,
    coins: Sequence[str] | None,
    currencies: Sequence[str] | None,
    *,
    now: datetime,
    stale_after: timedelta,
    tracked: TrackingScope | None,
) -> list[SeriesFreshness]:
    """Return for each series whether it is recent and complete, and if not, why.

    Raises NotFoundError and BadInputError.
    """
    dependencies.mark_uncacheable()  # a refresh records failures without a revision
    coin_ids, codes = await known_names(database, coins, currencies)
    async with database.read() as session:
        rows = await series_with_latest(session, coin_ids, codes)
    gaps = await asked_gaps(database, [row.series.id for row in rows])
    return [
        SeriesFreshness(
            row,
            stale_reason(row, now, stale_after, tracked),
            _missing(row.series, gaps[row.series.id], now, tracked),
        )
        for row in rows
    ]


def age_of(observed_at: datetime, now: datetime) -> timedelta:
    """Return the age of an observation; 0 if upstream's clock is ahead of ours."""
    return max(now - observed_at, timedelta(0))


def stale_reason(
    row: SeriesWithLatest, now: datetime, stale_after: timedelta, tracked: TrackingScope | None
) -> str | None:
    """Return why the latest price is older than `stale_after`; None if it is not."""
    series, newest = row.series, row.latest
    if newest is not None and newest.observed_at - now > MOST_AHEAD:
        return (
            f"Its newest price has a time in the future, {newest.observed_at:%Y-%m-%d %H:%M} UTC: "
            "the next refresh replaces it. If it stays, this machine's clock is wrong."
        )
    if newest is not None and now - newest.observed_at <= stale_after:
        return None
    if tracked is not None and not tracked.tracks(series.coin_id, series.currency_code):
        return _untracked(series, tracked)
    return _last_refresh(series, newest is not None, now, stale_after)


def _last_refresh(series: Series, known: bool, now: datetime, stale_after: timedelta) -> str:
    """Return why the last refresh of a tracked series brought no newer price."""
    if series.last_error is not None:
        return f"The last refresh failed: {series.last_error}"
    if series.last_success_at is None:
        return "No refresh has reached this series yet."
    if now - series.last_success_at > stale_after:
        return "No refresh has run lately: check the scheduler."
    return f"CoinGecko has no {'newer ' if known else ''}price."


def _untracked(series: Series, tracked: TrackingScope) -> str:
    missing = [
        f"{name!r} is not in {setting}"
        for name, setting, names in (
            (series.coin_id, "COINS", tracked.coins),
            (series.currency_code, "CURRENCIES", tracked.currencies),
        )
        if name not in names
    ]
    return f"This series is no longer tracked: {' and '.join(missing)}, so no refresh asks for it."


def _missing(
    series: Series, gaps: AskedGaps, now: datetime, tracked: TrackingScope | None
) -> Missing:
    """Count the missing hours and days from the gaps that refreshes found. Reads no prices."""
    if tracked is None or not tracked.tracks(series.coin_id, series.currency_code):
        return Missing()
    hours_from, days_from = tracked.hours_from(now), tracked.days_from(now)
    hours_begin = begins_at(gaps.first_hour, hours_from, gaps.hours, gaps.first_day)
    days_begin = begins_at(gaps.first_day, days_from, gaps.days, None) or begins_at(
        gaps.first_day, days_from, gaps.hours, None
    )
    hours = _lost(gaps.hours, hours_begin or hours_from, floor_hour(now), gaps.first_hour, HOUR)
    days = _lost(gaps.days, days_begin or days_from, floor_day(now), gaps.first_day, DAY)
    return Missing(hours[0], days[0], hours[1], days[1])


def _lost(
    gaps: Rows, start: datetime, end: datetime, first: datetime | None, unit: timedelta
) -> tuple[int, int]:
    """Return the number of missing buckets in [start, end), and of all buckets.

    Buckets before the `first` stored one are missing, whether they were asked for or not.
    """
    begins = max(start, min(first or end, end))
    gap = missing_micros(gaps, micros(begins), micros(end)) if begins < end else 0
    missing = max(begins - start, timedelta(0)) + timedelta(microseconds=gap)
    return missing // unit, max((end - start) // unit, 0)
