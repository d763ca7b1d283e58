"""Which windows are asked for, whatever is known and whenever it is."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.planner import (
    Reason,
    SeriesPlan,
    SeriesState,
    Window,
    floor_hour,
    plan_refresh,
    windows_between,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 3, 1, 12, 34, 56, 789, tzinfo=UTC)
MIDNIGHTS = [  # leap days, and the hours that clocks skip or repeat elsewhere
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2024, 3, 1, tzinfo=UTC),
    datetime(2025, 3, 30, 1, tzinfo=UTC),
    datetime(2025, 10, 26, 1, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
]
moments = st.sampled_from(MIDNIGHTS) | st.integers(0, 85 * 365 * 86_400).map(
    lambda seconds: datetime(2015, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


def state(
    history_from: datetime | None = None,
    last_bucket: datetime | None = None,
    coin: str = "bitcoin",
    currency: str = "usd",
) -> SeriesState:
    return SeriesState(1, coin, currency, history_from, last_bucket)


def plan(
    known: SeriesState, history_days: int = 90, days: int | None = None, *, rebuild: bool = False
) -> SeriesPlan:
    (made,) = plan_refresh(
        [known], NOW, history_days=history_days, currencies=["usd"], days=days, rebuild=rebuild
    )
    return made


def assert_askable(windows: tuple[Window, ...], now: datetime) -> None:
    """What upstream answers in hours, wholly in the past, the newest first."""
    for window in windows:
        assert window.start == floor_hour(window.start)
        assert 2 * DAY <= window.end - window.start <= 89 * DAY
        assert window.end <= now
    assert [w.end for w in windows] == sorted((w.end for w in windows), reverse=True)


def assert_covered(windows: tuple[Window, ...], start: datetime, end: datetime) -> None:
    rising = sorted(windows, key=lambda window: window.start)
    assert rising[0].start <= start
    assert rising[-1].end >= end
    assert all(later.start <= sooner.end for sooner, later in pairwise(rising))


@given(moments, st.integers(1, 4000 * 24))
@example(MIDNIGHTS[0], 89 * 24)
@example(MIDNIGHTS[0], 89 * 24 + 1)
@example(MIDNIGHTS[0], 48)
def test_windows_cover_what_is_asked_with_few_calls(end: datetime, hours: int) -> None:
    start = floor_hour(end - hours * HOUR)
    windows = windows_between(start, end)
    assert_askable(windows, end)
    assert_covered(windows, start, end)
    assert len(windows) <= math.ceil((end - start) / (89 * DAY - HOUR))
    # no more than a window's least length is asked for in vain
    assert min(window.start for window in windows) >= start - 2 * DAY


@st.composite
def _situations(draw: st.DrawFn) -> tuple[datetime, SeriesState, int, int | None, bool]:
    now = draw(moments)
    hours = st.integers(0, 400 * 24)
    history = draw(st.none() | hours)
    last = None if history is None else draw(st.none() | st.integers(0, history))
    known = state(
        None if history is None else floor_hour(now - history * HOUR),
        None if last is None else floor_hour(now - last * HOUR),
    )
    history_days = draw(st.integers(1, 3650))
    days = draw(st.none() | st.integers(1, 3650))
    return now, known, history_days, days, draw(st.booleans())


@given(_situations())
def test_a_plan_leaves_no_hole(
    situation: tuple[datetime, SeriesState, int, int | None, bool],
) -> None:
    now, known, history_days, days, rebuild = situation
    (made,) = plan_refresh(
        [known], now, history_days=history_days, currencies=[], days=days, rebuild=rebuild
    )
    for window in made.windows:
        assert window.start == floor_hour(window.start)
        assert 2 * DAY <= window.end - window.start <= 89 * DAY
        assert window.end <= now
    assert made.windows[0].end == now
    assert made.start == min(window.start for window in made.windows)
    # what was known and what is asked for, together, reach from the wanted start to now
    wanted = floor_hour(now - timedelta(days=days or history_days))
    pieces = [(window.start, window.end) for window in made.windows]
    if known.history_from is not None and known.last_bucket is not None:
        pieces.append((known.history_from, known.last_bucket))
    pieces.sort()
    assert pieces[0][0] <= wanted
    reached = pieces[0][1]
    for start, end in pieces[1:]:
        assert start <= reached
        reached = max(reached, end)
    assert reached == now


def test_a_first_load_reaches_back_to_the_start_of_history() -> None:
    made = plan(state())
    assert made.reason is Reason.FIRST_LOAD
    assert made.start == datetime(2025, 12, 1, 12, tzinfo=UTC)
    assert [(w.start, w.end) for w in made.windows] == [
        (datetime(2025, 12, 2, 13, tzinfo=UTC), NOW),
        (datetime(2025, 12, 1, 12, tzinfo=UTC), datetime(2025, 12, 3, 12, tzinfo=UTC)),
    ]
    assert plan(state(), history_days=89).windows == (
        Window(datetime(2025, 12, 2, 13, tzinfo=UTC), NOW),
        Window(datetime(2025, 12, 2, 12, tzinfo=UTC), datetime(2025, 12, 4, 12, tzinfo=UTC)),
    )


def test_a_load_that_brought_nothing_is_a_first_load_again() -> None:
    assert plan(state(NOW - 90 * DAY)).reason is Reason.FIRST_LOAD


HISTORY = floor_hour(NOW - 90 * DAY)


@pytest.mark.parametrize("age", [timedelta(0), 5 * HOUR, 2 * DAY])
def test_routine_is_two_days(age: timedelta) -> None:
    made = plan(state(HISTORY, floor_hour(NOW - age)))
    assert made.reason is Reason.ROUTINE
    assert made.windows == (Window(floor_hour(NOW - 2 * DAY), NOW),)


def test_a_gap_is_closed_from_the_last_known_hour_on() -> None:
    made = plan(state(HISTORY, floor_hour(NOW - 5 * DAY)))
    assert made.reason is Reason.GAP
    assert made.windows == (Window(floor_hour(NOW - 5 * DAY), NOW),)
    long = plan(state(HISTORY - 100 * DAY, floor_hour(NOW - 100 * DAY)))
    assert long.reason is Reason.GAP
    assert_askable(long.windows, NOW)
    assert_covered(long.windows, floor_hour(NOW - 100 * DAY), NOW)


def test_a_longer_history_is_filled_in_behind() -> None:
    made = plan(state(HISTORY, floor_hour(NOW)), history_days=120)
    assert made.reason is Reason.BACKFILL
    assert made.windows == (
        Window(floor_hour(NOW - 2 * DAY), NOW),
        Window(floor_hour(NOW - 120 * DAY), HISTORY),
    )
    an_hour = plan(state(HISTORY + HOUR, floor_hour(NOW)), history_days=90)
    assert an_hour.windows[1] == Window(HISTORY + HOUR - 2 * DAY, HISTORY + HOUR)


def test_a_shorter_history_forgets_nothing_and_asks_for_nothing() -> None:
    assert plan(state(HISTORY, floor_hour(NOW)), history_days=10).reason is Reason.ROUTINE


@pytest.mark.parametrize(("days", "asked"), [(1, 2), (2, 2), (7, 7)])
def test_days_ask_for_so_many(days: int, asked: int) -> None:
    made = plan(state(HISTORY, floor_hour(NOW)), days=days)
    assert made.reason is Reason.REQUESTED
    assert made.windows == (Window(floor_hour(NOW - asked * DAY), NOW),)


def test_days_leave_no_hole_behind_the_last_known_hour() -> None:
    """Else that hole would pass for hours that upstream does not have."""
    last = floor_hour(NOW - 10 * DAY)
    for rebuild in (False, True):
        made = plan(state(HISTORY, last), days=2, rebuild=rebuild)
        assert made.windows == (Window(last, NOW),)


@pytest.mark.parametrize(("days", "asked"), [(None, 90), (7, 7)])
def test_a_rebuild_asks_for_all_of_it(days: int | None, asked: int) -> None:
    for known in (state(), state(HISTORY, floor_hour(NOW))):
        made = plan(known, days=days, rebuild=True)
        assert made.reason is Reason.REBUILD
        assert made.start == floor_hour(NOW - asked * DAY)
        assert_covered(made.windows, made.start, NOW)


def test_every_coin_in_the_first_currency_comes_first() -> None:
    coins, codes = ["solana", "bitcoin"], ["usd", "eur", "gbp"]
    states = [
        state(coin=coin, currency=code) for code in ["gbp", "xxx", "usd", "eur"] for coin in coins
    ]
    made = plan_refresh(states, NOW, history_days=90, currencies=codes)
    assert [(p.state.currency_code, p.state.coin_id) for p in made] == [
        (code, coin) for code in [*codes, "xxx"] for coin in coins
    ]


def test_nothing_to_plan() -> None:
    assert plan_refresh([], NOW, history_days=90, currencies=["usd"]) == []
