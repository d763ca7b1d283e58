"""Anomalies of whole matrices, compared with a plain Python reference."""

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolvers.analysis.outliers import SCOPES, Matrix, find
from tests.resolvers import reference_anomalies
from tests.resolvers.reference_anomalies import Key, Prices

COINS, CURRENCIES = ("a", "b", "c", "d", "e"), ("eur", "gbp", "jpy", "usd")
KEYS = [(coin, currency) for coin in COINS for currency in CURRENCIES]


def found(
    prices: Prices, hours: range, threshold: float, window: int, asked: set[Key] | None = None
) -> list[dict[str, Any]]:
    """Call `find` and return its findings by name."""
    keys = sorted(prices, key=lambda key: (asked is not None and key not in asked, key))
    before = window + 2
    table = np.full((len(keys), before + len(hours) + 1), math.nan)
    for row, key in enumerate(keys):
        for hour, price in prices[key].items():
            if 0 <= (column := hour - hours.start + before) < table.shape[1]:
                table[row, column] = price
    numbers = {code: number for number, code in enumerate(CURRENCIES)}
    matrix = Matrix(
        table,
        np.array([numbers[code] for _, code in keys], dtype=np.int64),
        len(keys) if asked is None else len(asked),
        before,
        before + len(hours),
    )
    findings = find(matrix, threshold, window)
    return [
        {
            "hour": hours.start + int(findings.column[number]) - before,
            "coin": keys[findings.row[number]][0],
            "currency": keys[findings.row[number]][1],
            "price": table[findings.row[number], findings.column[number]],
            "logReturn": findings.log_return[number],
            "expectedLogReturn": findings.expected[number],
            "score": findings.score[number],
            "direction": "UP" if findings.up[number] else "DOWN",
            "scope": SCOPES[findings.scope[number]].value,
            "coinsAlike": findings.alike[number],
            "coinsCompared": findings.judged[number],
        }
        for number in range(len(findings))
    ]


def near(rows: list[dict[str, Any]]) -> list[Any]:
    return [
        {
            name: pytest.approx(value, rel=1e-9, abs=1e-15) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in rows
    ]


def walk(seed: int, hours: range, spread: float = 0.005) -> dict[Key, dict[int, float]]:
    """Random walks, independent for each coin and each currency."""
    dice = random.Random(seed)  # noqa: S311 - prices, not secrets
    prices: dict[Key, dict[int, float]] = {key: {} for key in KEYS}
    levels = {key: 10.0 ** dice.randint(-12, 12) for key in KEYS}
    for hour in hours:
        for key in KEYS:
            levels[key] *= math.exp(dice.gauss(0, spread))
            prices[key][hour] = levels[key]
    return prices


def lift(prices: dict[Key, dict[int, float]], keys: list[Key], hours: range, by: float) -> None:
    for key in keys:
        for hour in hours:
            prices[key][hour] *= by


def scopes(rows: list[dict[str, Any]], hour: int, direction: str = "UP") -> set[tuple[str, str]]:
    return {
        (row["scope"], row["currency"])
        for row in rows
        if row["hour"] == hour and row["direction"] == direction and row["score"] > 10
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("threshold", "window"), [(4.0, 24), (2.0, 7), (3.0, 3), (1.0, 50)])
def test_wandering_prices_with_gaps(seed: int, threshold: float, window: int) -> None:
    prices = walk(seed, range(120))
    lift(prices, KEYS, range(90, 120), 1.1)
    dice = random.Random(seed)  # noqa: S311 - gaps, not secrets
    for key in KEYS:
        for hour in dice.sample(range(120), 12):
            del prices[key][hour]
    expected = reference_anomalies.anomalies(prices, range(60, 119), threshold, window)
    assert len(expected) > 10
    assert found(prices, range(60, 119), threshold, window) == near(expected)


LEVELS = st.sampled_from([100.0, 100.0, 100.0, 101.0, 103.0, 90.0, 0.0]) | st.floats(1e-12, 1e12)


@settings(max_examples=60, deadline=None)
@given(
    series=st.dictionaries(
        st.sampled_from(KEYS), st.lists(LEVELS | st.none(), max_size=40), min_size=1, max_size=8
    ),
    window=st.integers(3, 12),
    threshold=st.floats(1, 8),
    data=st.data(),
)
def test_any_prices(
    series: dict[Key, list[float | None]], window: int, threshold: float, data: st.DataObject
) -> None:
    prices = {
        key: {hour: price for hour, price in enumerate(values) if price is not None}
        for key, values in series.items()
    }
    asked = data.draw(st.none() | st.sets(st.sampled_from(sorted(prices)), min_size=1))
    start = data.draw(st.integers(0, 30))
    hours = range(start, data.draw(st.integers(start, 40)))
    expected = reference_anomalies.anomalies(prices, hours, threshold, window, asked)
    assert found(prices, hours, threshold, window, asked) == near(expected)


def test_the_whole_market_moves() -> None:
    prices = walk(1, range(80))
    lift(prices, KEYS, range(50, 80), 1.2)
    rows = found(prices, range(30, 79), 4, 24)
    assert scopes(rows, 50) == {("MARKET", currency) for currency in CURRENCIES}
    assert {row["coinsAlike"] for row in rows if row["hour"] == 50} == {5}


def test_one_currency_moves() -> None:
    prices = walk(2, range(80))
    lift(prices, [key for key in KEYS if key[1] == "usd"], range(50, 80), 1 / 1.2)
    assert scopes(found(prices, range(30, 79), 4, 24), 50, "DOWN") == {("CURRENCY", "usd")}


@pytest.mark.parametrize("moved", [1, 2, 3])
def test_the_majority_of_coins_is_more_than_half(moved: int) -> None:
    prices = walk(11, range(80))
    lift(prices, [key for key in KEYS if key[0] in COINS[:moved]], range(50, 80), 1.2)
    rows = scopes(found(prices, range(30, 79), 4, 24), 50)
    assert rows == {("MARKET" if moved > 2 else "COIN", currency) for currency in CURRENCIES}


def test_the_majority_of_currencies_is_more_than_half() -> None:
    for moved, scope in ((2, "CURRENCY"), (3, "MARKET")):
        prices = walk(4, range(80))
        lift(prices, [key for key in KEYS if key[1] in CURRENCIES[:moved]], range(50, 80), 1.2)
        rows = scopes(found(prices, range(30, 79), 4, 24), 50)
        assert rows == {(scope, currency) for currency in CURRENCIES[:moved]}


def test_a_price_that_was_back_within_one_hour() -> None:
    prices = walk(5, range(80))
    lift(prices, [("a", "usd")], range(50, 51), 2.0)
    rows = found(prices, range(30, 79), 4, 24)
    assert scopes(rows, 50) == {("UPSTREAM", "usd")}
    assert scopes(rows, 51, "DOWN") == {("UPSTREAM", "usd")}
    # the way back alone, with the jump before the range
    assert scopes(found(prices, range(51, 79), 4, 24), 51, "DOWN") == {("UPSTREAM", "usd")}
    # the hour after the range counts as well, if it exists
    assert scopes(found(prices, range(30, 51), 4, 24), 50) == {("UPSTREAM", "usd")}
    newest = {key: {h: p for h, p in of.items() if h <= 50} for key, of in prices.items()}
    assert scopes(found(newest, range(30, 51), 4, 24), 50) == {("COIN", "usd")}


def test_a_price_that_stayed_is_not_upstream() -> None:
    prices = walk(5, range(80))
    lift(prices, [("a", "usd")], range(50, 52), 2.0)
    rows = found(prices, range(30, 79), 4, 24)
    assert scopes(rows, 50) == scopes(rows, 52, "DOWN") == {("COIN", "usd")}


def test_a_move_after_a_constant_price_is_upstream() -> None:
    prices = walk(6, range(80))
    prices["b", "eur"] = {hour: 5.0 if hour < 50 else 5.0001 for hour in range(80)}
    rows = found(prices, range(30, 79), 4, 24)
    mine = [row for row in rows if (row["coin"], row["currency"]) == ("b", "eur")]
    assert [(row["hour"], row["scope"]) for row in mine] == [(50, "UPSTREAM")]
    assert mine[0]["score"] == pytest.approx(math.log(5.0001 / 5.0) / 1e-6)


def test_a_constant_price_is_no_anomaly() -> None:
    prices = {key: dict.fromkeys(range(80), 1e-12) for key in KEYS}
    assert found(prices, range(30, 79), 1, 24) == []


@pytest.mark.parametrize("coins", [1, 2])
def test_few_coins(coins: int) -> None:
    """One coin alone is no market; two that move alike are."""
    prices = walk(7, range(80))
    prices = {key: of for key, of in prices.items() if key[0] in COINS[:coins]}
    lift(prices, list(prices), range(50, 80), 1.3)
    scope = "COIN" if coins == 1 else "MARKET"
    assert {each for each, _ in scopes(found(prices, range(30, 79), 4, 24), 50)} == {scope}


def test_the_requested_series_do_not_change_the_scope() -> None:
    prices = walk(8, range(80))
    lift(prices, KEYS, range(50, 80), 1.2)
    asked = {("a", "usd"), ("c", "eur")}
    whole = found(prices, range(30, 79), 4, 24)
    part = [row for row in whole if (row["coin"], row["currency"]) in asked]
    assert found(prices, range(30, 79), 4, 24, asked) == part
    assert {row["scope"] for row in part if row["hour"] == 50} == {"MARKET"}


@pytest.mark.parametrize("hours", [range(30, 30), range(30, 31)])
def test_short_ranges(hours: range) -> None:
    prices = walk(9, range(80))
    assert found(prices, hours, 1, 24) == near(reference_anomalies.anomalies(prices, hours, 1, 24))
    assert found({}, hours, 1, 24) == []
