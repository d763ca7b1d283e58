"""Statistics, compared with the standard library and plain loops."""

import math
import statistics as standard
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.prices.granularity import Granularity
from resolvers.analysis.statistics import Drawdown, Statistics, TimedPrice, statistics
from tests.resolvers.price_answers import START, answer_of, bucket_start

PRICES = st.floats(min_value=1e-12, max_value=1e12)
BUCKETS_A_YEAR = dict(zip(Granularity, (8760, 365, 52, 12), strict=True))
HOUR = timedelta(hours=1)
Points = list[tuple[int, float]]  # number of the bucket, price


def near(value: float | None, least: float = 0) -> Any:
    return None if value is None else pytest.approx(value, rel=1e-12, abs=least)


def recomputed(points: Points, granularity: Granularity) -> Statistics:
    if not points:
        return Statistics(0)

    def at(point: tuple[int, float]) -> TimedPrice:
        return TimedPrice(bucket_start(point[0], granularity), point[1])

    prices = [price for _, price in points]
    first, last = points[0], points[-1]
    several = len(points) > 1
    change = last[1] - first[1]
    return Statistics(
        count=len(points),
        first=at(first),
        last=at(last),
        minimum=at(min(points, key=lambda point: point[1])),
        maximum=at(max(points, key=lambda point: point[1])),
        mean=near(float(sum(map(Fraction, prices)) / len(prices))),
        standard_deviation=near(float(standard.stdev(map(Fraction, prices)))) if several else None,
        change=near(change) if several else None,
        change_percent=near(change / first[1] * 100) if several and first[1] else None,
        volatility=near(volatility(points, granularity), 1e-12),
    )


def volatility(points: Points, granularity: Granularity) -> float | None:
    stored = dict(points)
    if min(stored.values()) <= 0:
        return None
    returns = [
        math.log(price / stored[bucket - 1]) for bucket, price in points if bucket - 1 in stored
    ]
    if len(returns) < 2:
        return None
    return standard.stdev(returns) * math.sqrt(BUCKETS_A_YEAR[granularity])


def assert_drawdown(found: Drawdown | None, points: Points, granularity: Granularity) -> None:
    """Try all pairs of a price and a later one."""
    if len(points) < 2:
        assert found is None
        return
    assert found is not None
    falls = [
        1 - Fraction(later) / Fraction(earlier)
        for number, (_, earlier) in enumerate(points)
        for _, later in points[number:]
        if earlier
    ]
    assert found.percent == pytest.approx(float(max(falls, default=Fraction(0))) * 100, abs=1e-13)
    if found.peak is None or found.trough is None:
        assert found == Drawdown(0.0, None, None)
        return
    assert found.peak.at < found.trough.at
    stored = {bucket_start(bucket, granularity): price for bucket, price in points}
    assert stored[found.peak.at] == found.peak.price
    assert stored[found.trough.at] == found.trough.price
    depth = 1 - Fraction(found.trough.price) / Fraction(found.peak.price)
    assert found.percent == pytest.approx(float(depth) * 100, abs=1e-13)


@pytest.mark.slow
@given(
    prices=st.lists(PRICES | st.none(), max_size=25),
    gaps=st.lists(st.integers(1, 3), min_size=25, max_size=25),
    granularity=st.sampled_from(Granularity),
    descending=st.booleans(),
)
def test_any_series(
    prices: list[float | None], gaps: list[int], granularity: Granularity, *, descending: bool
) -> None:
    places = [sum(gaps[: number + 1]) for number in range(len(prices))]
    answer = answer_of(prices, places=places, granularity=granularity, descending=descending)
    points = [(place, p) for place, p in zip(places, prices, strict=True) if p is not None]
    found = statistics(answer)
    assert replace(found, maximum_drawdown=None) == recomputed(points, granularity)
    assert_drawdown(found.maximum_drawdown, points, granularity)


@pytest.mark.parametrize("price", [1e-12, 0.1, 1 / 3, 67_000.1, 1e12])
@pytest.mark.parametrize("count", [2, 3, 10, 2160])
def test_a_constant_price_does_not_deviate_at_all(price: float, count: int) -> None:
    found = statistics(answer_of([price] * count))
    assert found.mean == price
    numbers = (found.standard_deviation, found.change, found.change_percent)
    assert numbers == (0.0, 0.0, 0.0)
    assert found.volatility == (0.0 if count > 2 else None)
    assert found.maximum_drawdown == Drawdown(0.0, None, None)
    assert found.minimum == found.maximum == found.first == TimedPrice(START, price)


def test_no_prices() -> None:
    for answer in (answer_of([]), answer_of([None, None])):
        assert statistics(answer) == Statistics(0)


def test_a_single_price() -> None:
    only = TimedPrice(START + HOUR, 5.0)
    expected = Statistics(1, only, only, only, only, mean=5.0)
    assert statistics(answer_of([None, 5.0, None])) == expected


def test_over_a_gap_there_is_no_return() -> None:
    """For a missing bucket and for a missing price."""
    doubled = statistics(answer_of([1.0, 2.0, 1.0, 2.0], places=[0, 1, 3, 4])).volatility
    assert doubled == 0.0
    assert statistics(answer_of([1.0, 2.0, None, 1.0, 2.0])).volatility == 0.0
    assert statistics(answer_of([1.0, 2.0, None, 3.0, None, 4.0])).volatility is None


def test_small_differences_are_not_rounded_away() -> None:
    """The prices differ only in their last digits."""
    prices = [1e12 + number / 4096 for number in (0, 3, 1, 2)]
    found = statistics(answer_of(prices))
    assert found.standard_deviation == pytest.approx(standard.stdev([0, 3, 1, 2]) / 4096, rel=1e-12)
    assert found.change == 2 / 4096


def test_tiny_and_huge_prices() -> None:
    found = statistics(answer_of([1e-12, 1e12, 1e-12, 1e12]))
    assert found.mean == 5e11
    assert found.standard_deviation == pytest.approx(standard.stdev([0, 1e12, 0, 1e12]), rel=1e-14)
    assert found.maximum_drawdown == Drawdown(
        100.0, TimedPrice(START + HOUR, 1e12), TimedPrice(START + 2 * HOUR, 1e-12)
    )


def test_a_price_of_zero() -> None:
    found = statistics(answer_of([0.0, 4.0, 0.0]))
    assert (found.change, found.change_percent, found.volatility) == (0.0, None, None)
    assert found.maximum_drawdown is not None
    assert found.maximum_drawdown.percent == 100.0


def test_values_that_overflow_are_null() -> None:
    found = statistics(answer_of([1e-300, 1e308, 1e-300]))
    assert (found.change_percent, found.volatility) == (0.0, None)
    assert statistics(answer_of([1.7e308] * 3)).mean is None
    assert statistics(answer_of([1e-300, 1e308])).change_percent is None


def test_a_known_volatility() -> None:
    """Alternating returns of +1 % and -1 %: their deviation is known."""
    up, down = math.exp(0.01), math.exp(-0.01)
    prices = [100.0]
    for number in range(2000):
        prices.append(prices[-1] * (down if number % 2 else up))
    for granularity, year in BUCKETS_A_YEAR.items():
        found = statistics(answer_of(prices, granularity=granularity)).volatility
        assert found == pytest.approx(0.01 * math.sqrt(2000 / 1999) * math.sqrt(year), rel=1e-9)
