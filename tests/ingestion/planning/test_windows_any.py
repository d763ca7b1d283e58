"""Which windows are asked for, whatever is known and whenever it is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.planning.windows import Reason, SeriesState, Window, plan_refresh
from models.history import floor_hour, history_start, offered_from
from tests.ingestion.planning.series_to_plan import (
    DAY,
    HOUR,
    NOW,
    assert_askable,
    assert_covered,
    moments,
    plan,
    state,
)


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
def test_a_plan_leaves_no_gap(
    situation: tuple[datetime, SeriesState, int, int | None, bool],
) -> None:
    now, known, history_days, days, rebuild = situation
    start = history_start(now, history_days, None)
    kept = known.history_from if known.last_bucket else None
    missing = [(start, min(kept or now, now))] if kept is None or start < kept else []
    if kept and known.last_bucket and known.last_bucket + HOUR < now:
        missing.append((known.last_bucket + HOUR, now))
    made = plan(
        replace(known, missing_hours=tuple(missing)), history_days, days, rebuild=rebuild, now=now
    )
    assert_askable(made.windows, now)
    assert made.windows[0].end == now
    assert made.start == min(window.start for window in made.windows)
    # what was known and what is asked for, together, reach from the wanted start to now
    wanted = floor_hour(now - timedelta(days=days or history_days))
    pieces = [(window.start, window.end) for window in made.windows]
    if kept and known.last_bucket:
        pieces.append((kept, known.last_bucket + HOUR))
    pieces.sort()
    assert pieces[0][0] <= wanted
    reached = pieces[0][1]
    for first, end in pieces[1:]:
        assert first <= reached
        reached = max(reached, end)
    assert reached >= now


def test_a_first_load_reaches_back_to_the_start_of_history() -> None:
    made = plan(state(missing_hours=((HISTORY, floor_hour(NOW)),)))
    assert made.reason is Reason.FIRST_LOAD
    assert made.start == datetime(2025, 12, 1, 12, tzinfo=UTC)
    assert [(w.start, w.end) for w in made.windows] == [
        (datetime(2025, 12, 2, 13, tzinfo=UTC), NOW),
        (datetime(2025, 12, 1, 12, tzinfo=UTC), datetime(2025, 12, 3, 12, tzinfo=UTC)),
    ]


def test_a_load_that_brought_nothing_is_a_first_load_again() -> None:
    assert plan(state(NOW - 90 * DAY)).reason is Reason.FIRST_LOAD


HISTORY = floor_hour(NOW - 90 * DAY)


@pytest.mark.parametrize("age", [timedelta(0), 5 * HOUR, 2 * DAY])
def test_routine_is_two_days(age: timedelta) -> None:
    last = floor_hour(NOW - age)
    made = plan(state(HISTORY, last, missing_hours=((last + HOUR, floor_hour(NOW)),)))
    assert made.reason is Reason.ROUTINE
    assert made.windows == (Window(floor_hour(NOW - 2 * DAY), NOW),)


def test_a_gap_is_closed_with_the_call_that_is_made_anyway() -> None:
    gap = floor_hour(NOW - 60 * DAY)
    made = plan(state(HISTORY, floor_hour(NOW), missing_hours=((gap, gap + HOUR),)))
    assert made.reason is Reason.GAP
    assert made.windows == (Window(gap, NOW),)


def test_a_gap_out_of_reach_takes_a_call_of_its_own() -> None:
    gap = floor_hour(NOW - 200 * DAY)
    near = floor_hour(NOW - 20 * DAY)
    known = state(gap, floor_hour(NOW), missing_hours=((gap, gap + 3 * HOUR), (near, near + HOUR)))
    made = plan(known, 200)
    assert made.reason is Reason.GAP
    assert made.windows == (Window(near, NOW), Window(gap, gap + 2 * DAY))


def test_a_longer_history_is_filled_in_behind() -> None:
    start = floor_hour(NOW - 120 * DAY)
    made = plan(
        state(HISTORY, floor_hour(NOW), missing_hours=((start, HISTORY),)), history_days=120
    )
    assert made.reason is Reason.BACKFILL
    assert made.windows == (Window(floor_hour(NOW - 2 * DAY), NOW), Window(start, HISTORY))


def test_nothing_is_requested_from_before_what_upstream_offers() -> None:
    offered = offered_from(NOW, 365 * DAY)
    assert offered == datetime(2025, 3, 1, 13, tzinfo=UTC)
    almost = datetime(2026, 3, 1, 12, 55, tzinfo=UTC)
    assert offered_from(almost, 365 * DAY) == datetime(2025, 3, 1, 14, tzinfo=UTC)
    start = history_start(NOW, 3650, offered)
    assert start == offered
    first = plan(state(missing_hours=((start, floor_hour(NOW)),)), 3650, offered=offered)
    assert first.start == offered
    assert len(first.windows) == 5
    old = state(
        NOW - 800 * DAY, floor_hour(NOW), missing_hours=((NOW - 800 * DAY, NOW - 364 * DAY),)
    )
    assert plan(old, 800, offered=offered).start == offered
    assert plan(old, days=800, offered=offered).start == offered
    assert plan(old, 800, rebuild=True, offered=offered).start == offered
    older = state(
        NOW - 800 * DAY, floor_hour(NOW), missing_hours=((NOW - 800 * DAY, NOW - 700 * DAY),)
    )
    assert plan(older, 800, offered=offered).reason is Reason.ROUTINE


YEAR = Window(floor_hour(NOW - 365 * DAY), NOW)
MIDNIGHT = datetime(2025, 3, 2, tzinfo=UTC)  # the first that upstream offers
TODAY = datetime(2026, 3, 1, tzinfo=UTC)


def test_days_before_the_hours_are_requested_in_one_range() -> None:
    old = ((MIDNIGHT, datetime(2025, 12, 1, tzinfo=UTC)),)
    kept, last = HISTORY, floor_hour(NOW)
    assert plan(state(missing_days=((MIDNIGHT, TODAY),))).daily == YEAR
    made = plan(state(kept, last, missing_days=old))
    assert (made.daily, made.reason) == (YEAR, Reason.BACKFILL)
    assert plan(state(kept, last)).daily is None
    assert plan(state(kept, last), days=7).daily is None
    assert plan(state(kept, last, missing_days=old), days=7).daily is None
    assert plan(state(kept, last), rebuild=True).daily == YEAR
    offered = offered_from(NOW, 365 * DAY)
    assert plan(state(kept, last, missing_days=old), offered=offered).daily == Window(
        datetime(2025, 3, 1, 13, tzinfo=UTC), NOW
    )


@pytest.mark.parametrize(
    ("first", "days", "daily"),
    [
        (NOW - 365 * DAY, 365, False),  # hours that reach back as far bring all days
        (NOW - 90 * DAY, 3, True),  # the hours begin within the first of them
        (NOW - 90 * DAY + DAY, 3, False),
        (NOW - 20 * DAY, 5, False),
        (NOW - 200 * DAY, 3, True),
    ],
)
def test_days_that_the_hours_bring_are_not_requested(
    first: datetime, days: int, daily: bool
) -> None:
    missing = first.replace(hour=0, minute=0, second=0, microsecond=0)
    offered = offered_from(NOW, 365 * DAY)
    start = history_start(NOW, 365 if days == 365 else 90, offered)
    known = state(
        HISTORY,
        floor_hour(NOW),
        missing_hours=((start, floor_hour(NOW)),),
        missing_days=((missing, min(missing + days * DAY, TODAY)),),
    )
    assert (plan(known, offered=offered).daily is not None) == daily


def test_what_upstream_never_had_is_probed_with_one_window_of_hours() -> None:
    start = history_start(NOW, 300, None)
    absent = replace(state(missing_hours=((start, floor_hour(NOW)),)), never_priced=True)
    made = plan(absent, 300)
    assert (made.calls, made.reason) == (1, Reason.FIRST_LOAD)
    assert made.windows[0].end == NOW
    assert_covered((*made.windows, *made.rest), start, NOW)
    held = plan(replace(absent, deferral="later"), 300)
    assert (held.calls, held.windows, held.daily) == (0, (), None)
    assert plan(absent, days=300).calls == 4


def test_a_shorter_history_forgets_nothing_and_asks_for_nothing() -> None:
    assert plan(state(HISTORY, floor_hour(NOW)), history_days=10).reason is Reason.ROUTINE


@pytest.mark.parametrize(("days", "asked"), [(1, 2), (2, 2), (7, 7)])
def test_days_limits_the_history(days: int, asked: int) -> None:
    made = plan(state(HISTORY, floor_hour(NOW)), days=days)
    assert made.reason is Reason.REQUESTED
    assert made.windows == (Window(floor_hour(NOW - asked * DAY), NOW),)


def test_days_leave_no_gap_behind_the_last_known_hour() -> None:
    """Else that gap would pass for hours that upstream does not have."""
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
    made = plan_refresh(states, NOW, start=HISTORY, currencies=codes)
    assert [(p.state.currency_code, p.state.coin_id) for p in made] == [
        (code, coin) for code in [*codes, "xxx"] for coin in coins
    ]


def test_nothing_to_plan() -> None:
    assert plan_refresh([], NOW, start=HISTORY, currencies=["usd"]) == []
