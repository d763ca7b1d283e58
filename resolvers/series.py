"""The newest prices, and how fresh each series is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from models.database import Database
from models.latest_writes import MOST_AHEAD
from models.series import LatestFacts, SeriesWithLatest, latest_of, series_with_latest
from resolvers.footprint import Footprint
from resolvers.names import known_names


@dataclass(frozen=True, slots=True)
class SeriesFreshness:
    """A series, its newest price, and the reason why it is stale (None: it is fresh)."""

    row: SeriesWithLatest
    reason: str | None


async def latest(
    database: Database,
    footprint: Footprint,
    coins: Sequence[str] | None,
    currencies: Sequence[str] | None,
) -> list[LatestFacts]:
    """List the newest prices of these series; a series without one is left out."""
    footprint.catalogue()
    coin_ids, codes = await known_names(database, coins, currencies)
    rows = await latest_of(database, coin_ids, codes)
    footprint.series(row.series_id for row in rows)  # also those that have no price yet
    return [row for row in rows if row.observed_at is not None]


async def status(
    database: Database,
    footprint: Footprint,
    coins: Sequence[str] | None,
    currencies: Sequence[str] | None,
    *,
    now: datetime,
    stale_after: timedelta,
) -> list[SeriesFreshness]:
    """Tell of each series whether it is fresh, and if not, why."""
    footprint.changes_untold()  # failures and successes are noted without a new revision
    coin_ids, codes = await known_names(database, coins, currencies)
    async with database.read() as session:
        rows = await series_with_latest(session, coin_ids, codes)
    return [SeriesFreshness(row, stale_reason(row, now, stale_after)) for row in rows]


def age_of(observed_at: datetime, now: datetime) -> timedelta:
    """How old an observation is. Upstream's clock may be ahead of ours: not less than nothing."""
    return max(now - observed_at, timedelta(0))


def stale_reason(row: SeriesWithLatest, now: datetime, stale_after: timedelta) -> str | None:
    """Say why a series' newest price is older than `stale_after`; None where it is not."""
    series, newest = row.series, row.latest
    if newest is not None and newest.observed_at - now > MOST_AHEAD:
        return (
            f"Its newest price has a time in the future, {newest.observed_at:%Y-%m-%d %H:%M} UTC: "
            "the next refresh replaces it. If it stays, this machine's clock is wrong."
        )
    if newest is not None and now - newest.observed_at <= stale_after:
        return None
    if series.last_error is not None:
        return f"The last refresh failed: {series.last_error}"
    if series.last_success_at is None:
        return "No refresh has reached this series yet."
    if now - series.last_success_at > stale_after:
        return "No refresh has run lately: check the scheduler."
    return f"CoinGecko has no {'newer ' if newest else ''}price."
