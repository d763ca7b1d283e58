"""What upstream's silence costs in a month, by a clock that is moved: 44 series, hourly refreshes.

The table in docs/operations.md has these numbers.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from ingestion.planning.plan import MissingHistory
from ingestion.planning.windows import SeriesPlan, SeriesState, plan_refresh
from models.history import TrackingScope, floor_day, floor_hour, history_start, offered_from
from models.prices.answered_hours import KnownHistory
from models.prices.gaps import DAY_MICROS, GAP_ROW, HOUR_MICROS, AskedRange, Micros, count_asked
from models.prices.hours import instant, micros
from models.series import SeriesWithLatest
from models.tables import PriceLatest, Series

START = datetime(2026, 11, 1, 0, 0, 20, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
COINS = tuple(f"coin-{number}" for number in range(11))
CURRENCIES = ("usd", "eur", "gbp", "jpy")
MONTH = 30 * 24

Has = Callable[[Micros], np.ndarray]


def whole(times: Micros) -> np.ndarray:
    return np.ones(len(times), np.bool_)


def nothing(times: Micros) -> np.ndarray:
    return np.zeros(len(times), np.bool_)


def lately(times: Micros) -> np.ndarray:
    return times >= micros(START - 2 * DAY)


def without_the_oldest(times: Micros) -> np.ndarray:
    return times >= micros(START - 89.5 * DAY)


def listed_20_days_ago(times: Micros) -> np.ndarray:
    return times >= micros(START - 20 * DAY)


class Month:
    """One series for a month, and an upstream that has these hours and days of it alone."""

    def __init__(self, has_hours: Has, has_days: Has, history_days: int) -> None:
        self._has_hours, self._has_days = has_hours, has_days
        self._tracked = TrackingScope(COINS, CURRENCIES, history_days, 365 * DAY)
        self._known = KnownHistory(NONE, NONE, NO_GAPS, NO_GAPS)
        self._history_from: datetime | None = None

    def calls(self, now: datetime, *, only_due: bool) -> int:
        """Refresh the series at this moment; count the calls for it."""
        offered = offered_from(now, self._tracked.offered)
        start = history_start(now, self._tracked.history_days, offered)
        state = self._state(now, only_due=only_due)
        [plan] = plan_refresh([state], now, currencies=CURRENCIES, start=start, offered=offered)
        self._answer(plan, now)
        return plan.calls

    def _state(self, now: datetime, *, only_due: bool) -> SeriesState:
        series = Series(id=1, coin_id=COINS[0], currency_code=CURRENCIES[0])
        series.history_from, latest = self._history_from, None
        if len(self._known.hours):
            series.first_bucket, series.charted_to = map(instant, self._known.hours[[0, -1]])
            latest = PriceLatest(series_id=1, observed_at=now, price=1.0)
        row = SeriesWithLatest(series, latest)
        wanted = self._tracked.hours_from(now), self._tracked.days_from(now)
        return MissingHistory(row, self._known, *wanted, now, only_due=only_due).state()

    def _answer(self, plan: SeriesPlan, now: datetime) -> None:
        known, came = self._known, NONE
        for window in plan.windows:
            hours = np.arange(micros(window.start), micros(floor_hour(window.end)), HOUR_MICROS)
            found = hours[self._has_hours(hours)]
            came = np.union1d(came, found)
            if len(found):
                self._history_from = min(window.start, self._history_from or window.start)
        asked = [AskedRange(each.start, each.end, now, bool(len(came))) for each in plan.windows]
        hours = np.union1d(known.hours, came)
        days = np.union1d(known.days, came // DAY_MICROS * DAY_MICROS)
        hour_gaps, day_gaps = count_asked(known.hour_gaps, asked, hours), known.day_gaps
        if plan.daily is not None:
            end = floor_day(now - 2 * DAY)
            first = -(-micros(plan.daily.start) // DAY_MICROS) * DAY_MICROS
            found = np.arange(first, micros(end), DAY_MICROS)
            found = found[self._has_days(found)]
            days = np.union1d(days, found)
            ask = AskedRange(plan.daily.start, end, now, bool(len(found)))
            day_gaps = count_asked(day_gaps, [ask], days, DAY_MICROS)
        self._known = KnownHistory(hours, days, hour_gaps, day_gaps)


NONE, NO_GAPS = np.empty(0, np.int64), np.empty(0, GAP_ROW)
ROUTINE = MONTH  # one call each hour
CASES = [
    # what upstream has; hours and days; the calls of a month for one series, and 44 of them
    pytest.param(whole, whole, 90, 722, 31_768, id="everything"),
    pytest.param(without_the_oldest, whole, 90, 740, 32_560, id="a gap in the oldest day"),
    pytest.param(whole, nothing, 90, 740, 32_560, id="no days before the hours"),
    pytest.param(lately, nothing, 90, 758, 33_352, id="the last two days alone"),
    pytest.param(
        lately,
        nothing,
        365,
        815,
        35_860,
        id="the last two days alone, of a year",
        marks=pytest.mark.endurance,
    ),
    pytest.param(listed_20_days_ago, listed_20_days_ago, 90, 758, 33_352, id="a young coin"),
    pytest.param(nothing, nothing, 90, 39, 1_716, id="nothing at all"),
    pytest.param(nothing, nothing, 365, 41, 1_804, id="nothing at all, of a year"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("has_hours", "has_days", "history_days", "one", "all_of_them"), CASES)
def test_what_a_month_costs(
    has_hours: Has, has_days: Has, history_days: int, one: int, all_of_them: int
) -> None:
    month = Month(has_hours, has_days, history_days)
    spent = sum(month.calls(START + hour * HOUR, only_due=True) for hour in range(MONTH))
    assert (spent, len(COINS) * len(CURRENCIES) * spent) == (one, all_of_them)


def test_a_refresh_of_everything_missing_costs_the_same_each_time() -> None:
    month = Month(lately, nothing, 90)
    spent = [month.calls(START + hour * HOUR, only_due=False) for hour in range(48)]
    assert spent == [3] * 48


def test_silence_is_never_proof() -> None:
    """After two years of silence it is asked for again, within weeks."""
    month = Month(lately, nothing, 90)
    asked, now = [], START
    for step in range(48 + 104):
        if month.calls(now, only_due=True) > 1:
            asked.append(now)
        now += HOUR if step < 48 else 7 * DAY
    assert now - START > 700 * DAY
    pauses = {after - before for before, after in pairwise(asked)}
    assert max(pauses) <= 35 * DAY
