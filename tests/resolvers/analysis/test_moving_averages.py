"""Moving averages, compared with exact fractions."""

import math
from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.analysis.moving_averages import AverageKind, moving_average
from resolvers.errors import BadInputError
from tests.resolvers.price_answers import answer_of

PRICES = st.floats(min_value=1e-12, max_value=1e12)


def simple(prices: list[float], window: int) -> list[float | None]:
    sums = [Fraction(0), *accumulate(map(Fraction, prices))]
    means = [
        float((after - before) / window) for before, after in zip(sums, sums[window:], strict=False)
    ]
    return [None] * min(window - 1, len(prices)) + means


def exponential(prices: list[float], window: int) -> list[float | None]:
    weight, averages, average = Fraction(2, window + 1), list[float | None](), Fraction(0)
    for number, price in enumerate(map(Fraction, prices), 1):
        if number <= window:
            average += price / window
        else:
            average = weight * price + (1 - weight) * average
        averages.append(float(average) if number >= window else None)
    return averages


RECOMPUTED = {AverageKind.SMA: simple, AverageKind.EMA: exponential}


def averages(answer: object, window: int, kind: AverageKind) -> list[float | None]:
    found = moving_average(answer, window, kind).tolist()  # type: ignore[arg-type] # from answer_of
    return [None if math.isnan(value) else value for value in found]


def near(expected: list[float | None]) -> list[object]:
    return [None if each is None else pytest.approx(each, rel=1e-14, abs=0) for each in expected]


@pytest.mark.slow
@pytest.mark.parametrize("kind", AverageKind)
@given(prices=st.lists(PRICES, max_size=40), window=st.integers(1, 45))
def test_any_prices(kind: AverageKind, prices: list[float], window: int) -> None:
    expected = RECOMPUTED[kind](prices, window)
    assert averages(answer_of(prices), window, kind) == near(expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", AverageKind)
@pytest.mark.parametrize("descending", [False, True])
@given(prices=st.lists(PRICES | st.none(), max_size=30), window=st.integers(1, 12))
def test_missing_points_are_ignored(
    kind: AverageKind, *, descending: bool, prices: list[float | None], window: int
) -> None:
    answer = answer_of(prices, descending=descending)
    recomputed = iter(RECOMPUTED[kind]([price for price in prices if price is not None], window))
    expected = [None if price is None else next(recomputed) for price in prices]
    assert averages(answer, window, kind) == near(expected[:: -1 if descending else 1])


@pytest.mark.parametrize("window", [1, 2, 3, 24, 255, 256, 257, 2159, 2160])
def test_prices_outside_the_window_have_no_effect(window: int) -> None:
    prices = [1e12] * 1100 + [1e-12] * 1060
    found = averages(answer_of(prices), window, AverageKind.SMA)
    assert found == near(simple(prices, window))
    assert window > 1060 or found[-1] == pytest.approx(1e-12, rel=1e-14, abs=0)


def test_the_longest_window_over_the_most_points() -> None:
    prices = [float(number) for number in range(1, 10_001)]
    found = averages(answer_of(prices), 10_000, AverageKind.SMA)
    assert found == [None] * 9_999 + [5000.5]
    halves = averages(answer_of(prices), 5_000, AverageKind.SMA)
    assert halves[4_999:] == [number + 2500.5 for number in range(5_001)]


@pytest.mark.parametrize("kind", AverageKind)
@pytest.mark.parametrize("price", [1e-12, 0.1, 1.0, 1e12])
def test_a_constant_price_is_its_own_average(kind: AverageKind, price: float) -> None:
    assert averages(answer_of([price] * 50), 7, kind) == near([None] * 6 + [price] * 44)


@pytest.mark.parametrize("window", [0, -1, 10_001, 2**31 - 1])
def test_invalid_windows_are_rejected(window: int) -> None:
    with pytest.raises(BadInputError, match="`window` must be between 1 and 10,000, not"):
        moving_average(answer_of([1.0]), window, AverageKind.SMA)


@pytest.mark.parametrize("kind", AverageKind)
def test_sums_that_overflow_are_infinite(kind: AverageKind) -> None:
    assert moving_average(answer_of([1.7e308] * 3), 2, kind).tolist()[1:] == [math.inf] * 2
