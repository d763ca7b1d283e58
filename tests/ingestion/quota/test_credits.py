"""What a refresh costs of a month's credits, and what would fit. Pure."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.planning.estimate import BudgetExceededError, Estimate, what_fits
from ingestion.planning.plan import RunPlan
from ingestion.planning.windows import SeriesState, plan_refresh
from ingestion.quota.credits import Budget, month_of, next_month
from models.history import history_start, offered_from

NOW = datetime(2026, 11, 21, 12, 41, 30, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
CURRENCIES = ("usd", "eur", "gbp", "jpy")


def prepared(coins: int, currencies: int, *, loaded: bool, metadata: int = 0) -> RunPlan:
    """Plan a first load of 90 days, or a routine refresh."""
    offered = offered_from(NOW, timedelta(days=365))
    known = NOW.replace(minute=0, second=0) if loaded else None
    start = NOW - timedelta(days=90) if loaded else None
    states = [
        SeriesState(number, coin, code, start, known)
        for number, (coin, code) in enumerate(
            product([f"coin-{each}" for each in range(coins)], CURRENCIES[:currencies])
        )
    ]
    if not loaded:
        gaps = ((history_start(NOW, 90, offered), NOW),)
        days = ((NOW - timedelta(days=364), NOW),)
        states = [
            replace(
                each, history_from=None, last_bucket=None, missing_hours=gaps, missing_days=days
            )
            for each in states
        ]
    plans = plan_refresh(
        states, NOW, currencies=CURRENCIES, start=history_start(NOW, 90, offered), offered=offered
    )
    return RunPlan(plans, [f"coin-{each}" for each in range(metadata)], NOW, offered)


def estimate(run_plan: RunPlan, monthly: int | None, spent: int) -> Estimate:
    return Estimate(run_plan, Budget(monthly, spent, DECEMBER), 10.2, 3.0)


@pytest.mark.parametrize(
    ("now", "month", "reset"),
    [
        (NOW, date(2026, 11, 1), DECEMBER),
        (
            datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
            date(2026, 12, 1),
            datetime(2027, 1, 1, tzinfo=UTC),
        ),
        (datetime(2027, 1, 1, tzinfo=UTC), date(2027, 1, 1), datetime(2027, 2, 1, tzinfo=UTC)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), date(2028, 2, 1), datetime(2028, 3, 1, tzinfo=UTC)),
        (
            datetime(2026, 12, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            date(2026, 11, 1),
            DECEMBER,
        ),
    ],
)
def test_a_month_is_utc_and_ends_where_the_next_begins(
    now: datetime, month: date, reset: datetime
) -> None:
    assert month_of(now) == month
    assert next_month(month) == reset


@given(st.integers(0, 7 * 10**9))
def test_months_follow_each_other_without_a_gap(seconds: int) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    month = month_of(now)
    assert datetime(month.year, month.month, 1, tzinfo=UTC) <= now < next_month(month)
    assert month_of(next_month(month) - timedelta(microseconds=1)) == month
    assert month_of(next_month(month)) == next_month(month).date()


def test_a_routine_refresh_within_the_budget() -> None:
    seen = estimate(prepared(11, 4, loaded=True), 10_000, 9_955)
    assert (seen.calls, seen.credits_left, seen.fits, seen.refusal) == (45, 0, True, None)
    assert seen.estimated_seconds == pytest.approx(3.0 + 45 * 10.2)
    seen.check()


def test_without_a_budget_everything_fits() -> None:
    seen = estimate(prepared(11, 4, loaded=False), None, 10**9)
    assert (seen.fits, seen.credits_left, seen.refusal) == (True, None, None)


def test_a_refusal_says_what_would_fit() -> None:
    seen = estimate(prepared(11, 4, loaded=True), 10_000, 9_960)
    assert seen.refusal == (
        "This refresh needs 45 calls, but 40 of 10,000 credits are left until 2026-12-01. "
        "What would fit: coins coin-0, coin-1, coin-2, coin-3, coin-4, coin-5, coin-6, coin-7, "
        "coin-8 in currencies usd, eur, gbp, jpy (36 series, 37 calls)."
    )
    with pytest.raises(BudgetExceededError, match="What would fit") as refused:
        seen.check()
    assert refused.value.resets_at == DECEMBER


def test_a_first_load_may_fit_with_fewer_days() -> None:
    # two windows and one call for days each: 1 + 44 × 3
    seen = estimate(prepared(11, 4, loaded=False), 100, 50)
    assert seen.calls == 133
    assert "days 88 of all 44 series (45 calls) or coins" in str(seen.refusal)


def test_where_only_fewer_days_of_fewer_series_fit() -> None:
    """Of one series, metadata included: one window instead of two, and no call for its days."""
    whole = prepared(2, 2, loaded=False, metadata=2)
    assert what_fits(whole, 2) == []
    assert what_fits(whole, 3) == ["days 88 of coins coin-0 in currencies usd (1 series, 3 calls)"]
    assert what_fits(whole, 5) == ["coins coin-0 in currencies usd (1 series, 5 calls)"]


@pytest.mark.parametrize("spent", [99, 100, 5_000])
def test_where_nothing_fits_it_says_so(spent: int) -> None:
    refusal = estimate(prepared(2, 1, loaded=True), 100, spent).refusal
    assert refusal is not None
    assert refusal.endswith("until 2026-12-01. No refresh would fit.")
    assert f"but {100 - min(spent, 100)} of 100 credits" in refusal


@given(
    coins=st.integers(1, 6),
    currencies=st.integers(1, 4),
    loaded=st.booleans(),
    metadata=st.integers(0, 6),
    left=st.integers(0, 90),
)
def test_what_is_named_fits_and_nothing_larger_does(
    coins: int, currencies: int, loaded: bool, metadata: int, left: int
) -> None:
    whole = prepared(coins, currencies, loaded=loaded, metadata=min(coins, metadata))
    named = what_fits(whole, left)
    by_series = {
        (c, k): prepared(c, k, loaded=loaded, metadata=min(c, metadata))
        for c in range(1, coins + 1)
        for k in range(1, currencies + 1)
    }
    fitting = {c * k for (c, k), each in by_series.items() if each.calls <= left}
    offers = [text for text in named if text.startswith("coins")]
    if not fitting:
        assert not offers
    else:
        assert f"({max(fitting)} series, " in offers[0]
        count = offers[0].split(" in ")[0].count("coin-")
        spelled = offers[0].split("currencies ")[1].split(" (")[0].count(",") + 1
        assert f"{by_series[count, spelled].calls} calls)" in offers[0]
    one = 2 + bool(whole.metadata)  # of one series: the newest prices, one window, its coin
    assert bool(named) == (left >= one)
    for text in named:
        if text.startswith("days 88 of all"):
            calls = int(text.split("(")[1].split()[0])
            assert calls == 1 + coins * currencies + len(whole.metadata) <= left
            assert calls < whole.calls
        elif text.startswith("days"):
            assert len(named) == 1
            assert one <= int(text.split("series, ")[1].split()[0]) <= left
