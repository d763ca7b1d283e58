"""What is asked for when the call is made, and what the answers tell of hours that did not come."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ingestion.coingecko import CoinGecko
from ingestion.errors import HistoryTooLong
from ingestion.fetching import Fetched, Fetcher
from ingestion.planner import (
    Reason,
    SeriesPlan,
    SeriesState,
    Window,
    floor_hour,
    history_start,
    offered_from,
    windows_over,
)
from ingestion.samples import CallStats, Chart, Samples
from ingestion.simulator import Simulator
from ingestion.throttle import Throttle
from models.gaps import SETTLED, Asked

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATE = SeriesState(1, "bitcoin", "usd", None, None)


def planned(ago: timedelta) -> SeriesPlan:
    """A first load of a year, planned a while ago."""
    now = datetime.now(UTC) - ago
    start = history_start(now, 365, offered_from(now, 365 * DAY))
    return SeriesPlan(
        STATE, Reason.FIRST_LOAD, windows_over([(start, now)], now), daily=Window(start, now)
    )


@pytest.mark.parametrize("hours", [0, 5])
async def test_a_run_may_take_hours(simulator: Simulator, hours: int) -> None:
    """What upstream offered when the plan was made, it may offer no more."""
    plan = planned(hours * HOUR)
    async with CoinGecko(throttle=Throttle(600_000), base_url=simulator.base_url) as upstream:
        if hours:
            with pytest.raises(HistoryTooLong):
                await upstream.market_chart_range("bitcoin", "usd", plan.start, NOON)
        stats = CallStats()
        fetched = await Fetcher(upstream).hours(plan, stats)
        assert plan.daily is not None
        daily = await Fetcher(upstream).daily(plan, plan.daily, stats)
    assert (stats.attempts, stats.retries) == (6, 0)
    assert (len(fetched.answered), fetched.refused) == (5, ())
    assert len(daily) in {364, 365}
    now = datetime.now(UTC)
    assert now - 365 * DAY < fetched.start <= floor_hour(now - 365 * DAY) + 2 * HOUR
    # nothing between the windows is left out
    assert {window.end for window, _ in fetched.answered[1:]} >= {
        window.end for window in plan.windows[1:]
    }


def chart(*hours: float) -> Chart:
    """Prices so many hours after NOON; NaN is none."""
    times = [(NOON + hour * HOUR).timestamp() * 1000 for hour in hours]
    samples = Samples(np.array(times, np.int64), np.ones(len(hours)))
    return Chart(samples, samples, samples)


def window(start: int, end: float) -> Window:
    return Window(NOON + start * HOUR, NOON + end * HOUR)


def test_only_what_may_follow_is_asked_for_again() -> None:
    newest, older, oldest = window(100, 150.4), window(50, 100), window(0, 50)
    empty = chart()
    lagging, whole = chart(*range(100, 146), 146.5), chart(*range(50, 97))
    told = Fetched([(newest, lagging), (older, whole), (oldest, empty)]).asked
    sure = [each for each in told if each.times == SETTLED]
    assert sure == [
        Asked(newest.start, NOON + 146.5 * HOUR, SETTLED),
        Asked(older.start, older.end, SETTLED),
    ]
    assert [each for each in told if each.times == 1] == [
        Asked(each.start, each.end) for each in (newest, older, oldest)
    ]
    assert Fetched([(newest, empty)], [older]).asked == [
        Asked(older.start, older.end), Asked(newest.start, newest.end),
    ]  # fmt: skip


def test_half_an_answer_may_be_a_fault() -> None:
    half = window(0, 50)
    assert Fetched([(half, chart(*range(0, 50, 2)))]).asked == [Asked(half.start, half.end)]


def test_nulls_are_no_prices() -> None:
    nulls = chart(10)
    nulls.prices.values[:] = np.nan
    assert Fetched([(window(0, 50), nulls)]).asked == [Asked(NOON, NOON + 50 * HOUR)]
    assert Fetched([(window(0, 50), nulls)]).full_from is None


@pytest.mark.parametrize(
    ("full", "known_from"),
    [("###", 0), ("## ", 50), ("# #", 0), ("#  ", 100), (" # ", 50), ("   ", 0)],
)
def test_hours_are_known_from_the_oldest_window_that_has_any(full: str, known_from: int) -> None:
    windows = window(100, 150), window(50, 100), window(0, 50)
    charts = [chart(1) if each == "#" else chart() for each in full]
    told = Fetched(list(zip(windows, charts, strict=True)))
    assert told.known_from == NOON + known_from * HOUR
