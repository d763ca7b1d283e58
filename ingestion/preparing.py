"""What a run would do: series and what is known of them, read from the database, and a plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product

import numpy as np

from ingestion.addresses import quote_chunks
from ingestion.holes import Hole, find_holes
from ingestion.planner import (
    SeriesPlan,
    SeriesState,
    history_start,
    offered_from,
    plan_refresh,
)
from models.answered import answered_hours
from models.coins import coins_wanting_metadata
from models.database import Database
from models.series import series_with_latest
from models.tables import Series

METADATA_AGE = timedelta(days=30)
_UNKNOWN = 0  # the id of series that are not there yet; PostgreSQL counts from 1
_AT_A_TIME = 10  # series: a year of hours of so many is measured in a few ms


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """What to refresh. None stands for everything tracked, or what is missing."""

    coins: tuple[str, ...] | None = None
    currencies: tuple[str, ...] | None = None
    days: int | None = None
    rebuild: bool = False


@dataclass(frozen=True, slots=True)
class Tracked:
    """What is to be kept. `offered` is how much history upstream offers, None: without limit."""

    coins: tuple[str, ...]
    currencies: tuple[str, ...]
    history_days: int
    offered: timedelta | None


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a run will do: calls for series, calls for metadata, calls for all newest prices.

    Made at `now`; upstream offers no history before `offered`.
    """

    plans: list[SeriesPlan]
    metadata: list[str]
    now: datetime
    offered: datetime | None

    @property
    def quotes(self) -> int:
        """Count the calls for newest prices: one for up to 250 coins."""
        return len(quote_chunks(dict.fromkeys(plan.state.coin_id for plan in self.plans)))

    @property
    def calls(self) -> int:
        return self.quotes + sum(plan.calls for plan in self.plans) + len(self.metadata)


async def prepare(
    database: Database,
    tracked: Tracked,
    request: RefreshRequest,
    now: datetime,
    *,
    seeded: bool = True,
) -> Preparation:
    """Plan a run.

    A database that is not `seeded` may lack series that a run would find: they are planned as
    first loads, with one id for all, for a plan that is only shown.
    """
    coins = tracked.coins if request.coins is None else request.coins
    currencies = tracked.currencies if request.currencies is None else request.currencies
    async with database.read() as session:
        found = await series_with_latest(session, coins, currencies)
        metadata = await coins_wanting_metadata(session, coins, older_than=now - METADATA_AGE)
    offered = offered_from(now, tracked.offered)
    start = history_start(now, request.days or tracked.history_days, offered)
    requested = request.days is not None
    series = [row.series for row in found]
    holes = {} if requested or request.rebuild else await _holes(database, series, start, now)
    if not seeded:
        unknown = _unknown_series(series, coins, currencies)
        metadata += sorted({each.coin_id for each in unknown} - {each.coin_id for each in series})
        series += unknown
        if not (requested or request.rebuild):
            holes[_UNKNOWN] = find_holes(np.empty(0, "datetime64[us]"), start, now)
    rank = {coin: number for number, coin in enumerate(tracked.coins)}
    series.sort(key=lambda each: rank.get(each.coin_id, len(rank)))
    states = [
        SeriesState(
            each.id,
            each.coin_id,
            each.currency_code,
            each.history_from,
            each.charted_to,
            each.daily_from,
            holes.get(each.id, ()),
        )
        for each in series
    ]
    plans = plan_refresh(
        states,
        now,
        currencies=tracked.currencies,
        start=start,
        offered=offered,
        requested=requested,
        rebuild=request.rebuild,
    )
    return Preparation(plans, metadata, now, offered)


def _unknown_series(
    known: Sequence[Series], coins: Sequence[str], currencies: Sequence[str]
) -> list[Series]:
    """Make the series that these coins and currencies lack, as seeding would."""
    keys = {(each.coin_id, each.currency_code) for each in known}
    return [
        Series(id=_UNKNOWN, coin_id=coin, currency_code=currency)
        for coin, currency in product(coins, currencies)
        if (coin, currency) not in keys
    ]


async def _holes(
    database: Database, series: Sequence[Series], start: datetime, now: datetime
) -> dict[int, tuple[Hole, ...]]:
    """Find what is missing of each series, from the wanted or the kept start of its history on."""
    holes = {}
    for first in range(0, len(series), _AT_A_TIME):
        starts = {
            each.id: min(start, each.history_from or start)
            for each in series[first : first + _AT_A_TIME]
        }
        async with database.read() as session:
            answered = await answered_hours(session, list(starts), min(starts.values()))
        for series_id, since in starts.items():
            holes[series_id] = find_holes(answered[series_id], since, now)
    return holes
