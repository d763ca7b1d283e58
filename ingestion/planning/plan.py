"""Plans a run from what the database knows about the series."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product

import numpy as np

from ingestion.coingecko.urls import quote_chunks
from ingestion.planning.gaps import Gap, find_gaps
from ingestion.planning.silence import Silence, silence_of
from ingestion.planning.windows import SHORTEST_WINDOW, SeriesPlan, SeriesState, plan_refresh
from models.coins import coins_wanting_metadata
from models.history import TrackingScope, floor_day, history_start, offered_from
from models.postgres.database import Database
from models.prices.answered_hours import NOTHING_KNOWN, KnownHistory, begins_at, known_history
from models.prices.gaps import DAY_MICROS, HOUR_MICROS, Micros, confirmed, next_asks, times_in
from models.prices.granularity import Granularity
from models.prices.hours import Rows, instant, micros
from models.series import SeriesWithLatest, series_with_latest
from models.tables import Series

METADATA_AGE = timedelta(days=30)
_UNKNOWN = 0  # the id of series that are not in the database yet; PostgreSQL counts from 1
_AT_A_TIME = 10  # series; their gaps in a year of hours are found in a few ms


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """What to refresh.

    `coins` and `currencies`: None means all that are tracked. `days`: how far back to fetch; None
    means what is missing. `only_due` leaves out what upstream lacked when it was requested
    recently, until it is due to be requested again; automatic refreshes set it.
    """

    coins: tuple[str, ...] | None = None
    currencies: tuple[str, ...] | None = None
    days: int | None = None
    rebuild: bool = False
    only_due: bool = False


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The calls of a run: for series, for coins' metadata, and for all newest prices.

    The plan is made at `now`; upstream offers no history before `offered`. `withheld` is True if
    something is missing that is not due to be requested.
    """

    plans: list[SeriesPlan]
    metadata: list[str]
    now: datetime
    offered: datetime | None
    withheld: bool = False

    @property
    def quotes(self) -> int:
        """The number of calls for newest prices: one per 250 coins."""
        return len(quote_chunks(dict.fromkeys(plan.state.coin_id for plan in self.plans)))

    @property
    def calls(self) -> int:
        """The number of all calls."""
        return self.quotes + sum(plan.calls for plan in self.plans) + len(self.metadata)


async def prepare(
    database: Database,
    tracked: TrackingScope,
    request: RefreshRequest,
    now: datetime,
    *,
    seeded: bool = True,
) -> RunPlan:
    """Plan a run.

    If the database is not `seeded`, series that seeding would create are planned as first loads
    with the id 0. Such a plan can be displayed but not executed.
    """
    coins = tracked.coins if request.coins is None else request.coins
    currencies = tracked.currencies if request.currencies is None else request.currencies
    async with database.read() as session:
        found = await series_with_latest(session, coins, currencies)
        metadata = await coins_wanting_metadata(session, coins, older_than=now - METADATA_AGE)
    offered = offered_from(now, tracked.offered)
    if not seeded:
        unknown = _unknown_series([row.series for row in found], coins, currencies)
        metadata += sorted({each.coin_id for each in unknown} - {r.series.coin_id for r in found})
        found = [*found, *(SeriesWithLatest(each, None) for each in unknown)]
    rank = {coin: number for number, coin in enumerate(tracked.coins)}
    found.sort(key=lambda row: rank.get(row.series.coin_id, len(rank)))
    if request.days is not None or request.rebuild:
        states, withheld = [_state(row) for row in found], False
    else:
        states, withheld = await _missing(database, tracked, found, now, only_due=request.only_due)
    plans = plan_refresh(
        states,
        now,
        currencies=tracked.currencies,
        start=history_start(now, request.days or tracked.history_days, offered),
        offered=offered,
        requested=request.days is not None,
        rebuild=request.rebuild,
    )
    asked = {plan.state.coin_id for plan in plans if plan.state.deferral is None}
    metadata = [coin for coin in metadata if coin in asked]
    return RunPlan(plans, metadata, now, offered, withheld)


def _unknown_series(
    known: Sequence[Series], coins: Sequence[str], currencies: Sequence[str]
) -> list[Series]:
    """Create the series that seeding would add for these coins and currencies."""
    keys = {(each.coin_id, each.currency_code) for each in known}
    return [
        Series(id=_UNKNOWN, coin_id=coin, currency_code=currency)
        for coin, currency in product(coins, currencies)
        if (coin, currency) not in keys
    ]


def _state(row: SeriesWithLatest) -> SeriesState:
    series = row.series
    return SeriesState(
        series.id, series.coin_id, series.currency_code, series.history_from, series.charted_to
    )


async def _missing(
    database: Database,
    tracked: TrackingScope,
    rows: Sequence[SeriesWithLatest],
    now: datetime,
    *,
    only_due: bool,
) -> tuple[list[SeriesState], bool]:
    """Find what is missing of each series, from the wanted or the stored start of its history.

    Also returns True if something is missing that is not due to be requested.
    """
    states, withheld = [], False
    wanted, days_wanted = tracked.hours_from(now), tracked.days_from(now)
    for first in range(0, len(rows), _AT_A_TIME):
        group = rows[first : first + _AT_A_TIME]
        since = min([wanted, *(row.series.history_from or wanted for row in group)])
        async with database.read() as session:
            known = await known_history(
                session, [row.series.id for row in group], since, days_wanted
            )
        for row in group:
            look = MissingHistory(
                row,
                known.get(row.series.id, NOTHING_KNOWN),
                wanted,
                days_wanted,
                now,
                only_due=only_due,
            )
            states.append(look.state())
            withheld |= look.withheld
    return states, withheld


class MissingHistory:
    """Finds the hours and days to request for one series.

    `withheld` is set if something is missing that is not due.
    """

    def __init__(
        self,
        row: SeriesWithLatest,
        known: KnownHistory,
        wanted: datetime,
        days_wanted: datetime,
        now: datetime,
        *,
        only_due: bool,
    ) -> None:
        self._row, self._known, self._now = row, known, now
        self._wanted, self._days_wanted = wanted, days_wanted
        self._only_due = only_due
        self.withheld = False

    def state(self) -> SeriesState:
        """Return the state of the series with its missing hours and days."""
        known, series = self._known, self._row.series
        first_hour = _first(known.hours)
        first_day = _first(known.days)
        begins = begins_at(first_hour, self._wanted, known.hour_gaps, first_day)
        days_begin = begins_at(first_day, self._days_wanted, known.day_gaps, None)
        state = replace(
            _state(self._row),
            missing_hours=self._missing_ranges(
                known.hours,
                known.hour_gaps,
                min(self._wanted, series.history_from or self._wanted),
                self._now,
                begins,
            ),
            missing_days=self._missing_ranges(
                known.days,
                known.day_gaps,
                self._days_wanted,
                floor_day(self._now - SHORTEST_WINDOW),
                days_begin,
                Granularity.DAY,
            ),
            confirmed_gaps=tuple(
                (instant(row["starts"]), instant(row["ends"]))
                for row in known.hour_gaps[confirmed(known.hour_gaps)]
            ),
            days_begin=days_begin,
        )
        silence = self._silence()
        if silence is None:
            return state
        deferral = None
        if self._only_due and silence.until > self._now and self._row.latest is None:
            deferral = silence.sentence(series.last_error)
        self.withheld |= deferral is not None
        return replace(state, never_priced=True, deferral=deferral)

    def _silence(self) -> Silence | None:
        """Return the requests so far if upstream has never given a price; otherwise None."""
        known = self._known
        if self._row.series.first_bucket is not None or len(known.hours) or len(known.days):
            return None
        return silence_of(known.hour_gaps, self._now)

    def _missing_ranges(
        self,
        stored: Micros,
        gaps: Rows,
        start: datetime,
        end: datetime,
        begins: datetime | None,
        granularity: Granularity = Granularity.HOUR,
    ) -> tuple[Gap, ...]:
        """List what is missing from `start` to `end` and to be requested now.

        Buckets before a coin's confirmed beginning (`begins`) are not missing and always wait
        until they are due. Other gaps wait only in a refresh of what is due.
        """
        unit = HOUR_MICROS if granularity is Granularity.HOUR else DAY_MICROS
        now = micros(self._now)
        waits = next_asks(gaps, now) > now
        before = np.zeros(len(gaps), np.bool_)
        if begins is not None:
            before = gaps["ends"] <= micros(begins)
        waiting = gaps[waits & (before | self._only_due)]
        self.withheld |= bool((waits & ~before).any()) and self._only_due
        known = np.union1d(stored, times_in(waiting, unit)).astype("datetime64[us]")
        missing = find_gaps(known, start, end, granularity)
        if missing and len(stored) and missing[0][1] == _first(stored):
            # Overlap the first stored hours: only a response with prices is evidence of a gap.
            missing = ((missing[0][0], missing[0][1] + SHORTEST_WINDOW), *missing[1:])
        return missing


def _first(times: Micros) -> datetime | None:
    return instant(int(times[0])) if len(times) else None
