"""What calls request, and what their responses show about missing hours."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import HistoryTooLong
from ingestion.coingecko.types import CallStats, Chart, Samples
from ingestion.planning.windows import Reason, SeriesPlan, SeriesState, Window, windows_over
from ingestion.quota.throttle import Throttle
from ingestion.run.fetcher import Fetched, Fetcher
from models.history import floor_hour, history_start, offered_from
from simulator import Simulator

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
        fetched = await Fetcher(upstream, lambda: datetime.now(UTC)).hours(plan, stats)
        assert plan.daily is not None
        daily = await Fetcher(upstream, lambda: datetime.now(UTC)).daily(plan, plan.daily, stats)
    assert (stats.attempts, stats.retries) == (6, 0)
    assert (len(fetched.answered), fetched.refused) == (5, ())
    assert len(daily.points) in {364, 365}
    now = datetime.now(UTC)
    assert now - 365 * DAY < fetched.start <= floor_hour(now - 365 * DAY) + 2 * HOUR
    # nothing between the windows is left out
    assert {window.end for window, _ in fetched.answered[1:]} >= {
        window.end for window in plan.windows[1:]
    }


def chart(*hours: float) -> Chart:
    """Prices at these hours after NOON; NaN stands for none."""
    times = [(NOON + hour * HOUR).timestamp() * 1000 for hour in hours]
    samples = Samples(np.array(times, np.int64), np.ones(len(hours)))
    return Chart(samples, samples, samples)


def window(start: int, end: float) -> Window:
    return Window(NOON + start * HOUR, NOON + end * HOUR)


LATER = NOON + 500 * HOUR


def fetched(
    *answers: tuple[Window, Chart], refused: Sequence[Window] = (), refusal: str | None = None
) -> Fetched:
    return Fetched(answers, LATER, refused, refusal)


def evident(*answers: tuple[Window, Chart]) -> list[bool]:
    return [each.answered for each in fetched(*answers).asked]


def test_every_range_was_requested_at_that_moment() -> None:
    newest, older, oldest = window(100, 150.4), window(50, 100), window(0, 50)
    result = fetched(
        (newest, chart(*range(100, 146))), (older, chart()), refused=[oldest], refusal="no"
    )
    assert {(each.start, each.end) for each in result.asked} == {
        (each.start, each.end) for each in (newest, older, oldest)
    }
    assert {each.at for each in result.asked} == {LATER}


def test_only_answers_with_hours_are_evidence() -> None:
    newest, older, oldest = window(200, 300), window(100, 200), window(0, 100)
    whole, holey, empty = chart(*range(200, 300)), chart(*range(100, 200, 3)), chart()
    assert evident((newest, whole), (older, holey), (oldest, empty)) == [True, True, False]
    assert evident((newest, empty), (older, empty)) == [False, False]
    # an answer that begins late, and nothing before it: the coin may have been listed then
    late = chart(*range(170, 200))
    assert evident((newest, whole), (older, late), (oldest, empty)) == [True, True, True]
    assert evident((newest, empty), (older, late), (oldest, empty)) == [False, True, True]
    result = fetched((newest, whole), refused=[older, oldest], refusal="no").asked
    assert [each.answered for each in result] == [False, False, True]


DAYS = [number * 24 - 12 for number in range(1, 10)]  # midnights after NOON


@pytest.mark.parametrize("now_point", [[], [9.5 * 24]])
@pytest.mark.parametrize("minutes", [0.0, 5.5])
def test_days_in_place_of_hours_are_no_hours(minutes: float, now_point: list[float]) -> None:
    asked = window(0, 10 * 24)
    result = fetched((asked, chart(*(day + minutes / 60 for day in DAYS), *now_point)))
    assert result.charts == []
    assert result.full_from is None
    assert evident(*result.answered) == [False]
    assert "days instead of hours: 0 of 240 hours" in str(result.shortfall())


@pytest.mark.parametrize(
    "hours", [[5], [5, 6], [0, 100, 200], [12, 36.0, 61, 62], [day + 3 for day in DAYS]]
)
def test_few_hours_are_hours(hours: list[float]) -> None:
    assert fetched((window(0, 240), chart(*hours))).charts != []


@pytest.mark.parametrize(
    ("hours", "shown", "message"),
    [
        (range(300), [], None),
        (range(290), [], None),
        (range(275), [], "275 of 300 hours"),  # more than a day in one piece
        ([*range(100), *range(124, 300)], [], "276 of 300 hours"),
        ([*range(100), *range(123, 300)], [], None),
        (range(0, 300, 2), [], "150 of 300 hours"),
        ([], [], "0 of 300 hours"),
        (range(200, 300), [], "100 of 300 hours"),
        (range(200, 300), [(0, 200)], None),
        (range(200, 300), [(-50, 120), (120, 200)], None),
        (range(290, 300), [(0, 200)], "10 of 100 hours"),
        ([*range(100), *range(220, 300)], [(100, 220)], None),
        ([], [(0, 400)], None),
    ],
)
def test_what_an_answer_lacks_is_said(
    hours: Sequence[int], shown: Sequence[tuple[int, int]], message: str | None
) -> None:
    ranges = [(NOON + first * HOUR, NOON + end * HOUR) for first, end in shown]
    said = fetched((window(0, 300.5), chart(*hours))).shortfall(ranges)
    assert (said is None) == (message is None)
    assert (message or "") in (said or "")


def test_nulls_are_no_prices() -> None:
    nulls = chart(10)
    nulls.prices.values[:] = np.nan
    assert evident((window(0, 50), nulls)) == [False]
    assert fetched((window(0, 50), nulls)).full_from is None


@pytest.mark.parametrize(
    ("full", "known_from"),
    [("###", 0), ("## ", 50), ("# #", 0), ("#  ", 100), (" # ", 50), ("   ", 0)],
)
def test_hours_are_known_from_the_oldest_window_that_has_any(full: str, known_from: int) -> None:
    windows = window(100, 150), window(50, 100), window(0, 50)
    charts = [chart(1) if each == "#" else chart() for each in full]
    result = fetched(*zip(windows, charts, strict=True))
    assert result.known_from == NOON + known_from * HOUR
