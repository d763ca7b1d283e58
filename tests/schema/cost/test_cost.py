"""Costs computed by hand, which are never below the size of the response."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphql import parse

from resolvers.data_extent import DataExtent
from schema import build_schema
from schema.cost import Cost, CostPlan
from schema.cost.weights import FIELD, READ, SESSION, WINDOWS

NOW = datetime(2026, 4, 1, 12, 30, tzinfo=UTC)
EXTENT = DataExtent(11, 4, NOW - timedelta(days=90), NOW - timedelta(days=366))
HOURS = 90 * 24 + 1
DAYS = 367  # stored days, today included
SCHEMA = build_schema()._schema  # noqa: SLF001 - graphql-core's own
COINS = 2 * READ + FIELD  # a list of coins, with the field that holds them
READ_BY_NAME = 2 * READ + 2 * 60  # a coin and a currency
SEARCH = 20_000 + 44 * 800
ALIGNED = """
  { alignedPrices(coins: ["a", "b"], from: "2026-03-31T12:30:00Z") {
      timestamps series { coin prices } } }
"""


def cost(text: str, variables: Mapping[str, Any] | None = None, name: str | None = None) -> Cost:
    return CostPlan(SCHEMA, parse(text)).cost(name, variables, NOW, EXTENT)


def prices(arguments: str, below: str) -> str:
    return f'{{ prices(coin: "bitcoin"{arguments}) {{ {below} }} }}'


def series(buckets: int, below: int) -> int:
    return max(WINDOWS, READ + buckets) + below


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ __typename }", FIELD),
        ("{ a: __typename b: __typename }", 2 * FIELD),
        (prices("", "next"), series(HOURS, FIELD)),
        (prices(", first: 24", "points { timestamp price }"), series(24, FIELD + 2 * 24)),
        (prices(", first: 24", "points { price } columns { prices timestamps }"),
         series(24, 2 * FIELD + 3 * 24)),
        (prices(", first: 24", f"points {{ {'a' * 32}: price }}"), series(24, FIELD + 24)),
        (prices(", first: 24", f"points {{ {'a' * 33}: price }}"), series(24, FIELD + 2 * 24)),
        (f"{{ coins(first: 5) {{ nodes {{ {'a' * 3200}: latest {{ price }} }} }} }}",
         COINS + 5 * (READ // 2 + FIELD + 3168)),
        (f"{{ coins(first: 5) {{ nodes {{ {'a' * 3200}: prices(first: 7) {{ next }} }} }} }}",
         COINS + 5 * (series(7, FIELD) + 3168)),
        (prices(", first: 99999", "points { price }"), series(HOURS, FIELD + HOURS)),
        (prices(', from: "2026-03-31T12:30:00Z"', "points { price }"), series(25, FIELD + 25)),
        (prices(', from: "2026-01-01", to: "2026-01-31", granularity: DAY', "points { price }"),
         series(31, FIELD + 31)),
        (prices(', from: "2025-01-01", to: "2010-01-01"', "points { price }"), series(0, FIELD)),
        (prices(', from: "1970-01-01"', "points { price }"), series(10_000, FIELD + 10_000)),
        (prices(", granularity: DAY", "points { price }"), series(368, FIELD + 368)),
        (prices(", first: 100", "downsampled(maxPoints: 50) { price timestamp }"),
         series(100, FIELD + 2 * 100 + 50 * 2)),
        (prices(", first: 100", "movingAverage(window: 3) statistics { mean }"),
         series(100, 2 * (FIELD + 3 * 100) + FIELD)),
        ("{ coins(first: 5) { nodes { prices(first: 7) { points { price } } } } }",
         COINS + 5 * series(7, FIELD + 7)),
        ("{ coins { nodes { prices(first: 7) { points { price } } } } }",
         COINS + 11 * series(7, FIELD + 7)),  # all stored coins
        ('{ coins(filter: {ids: ["a", "b"]}) { edges { node { id } } } }',
         COINS + 2 * 2 * 60 + 2 * (FIELD + FIELD)),
        ('{ coins(filter: {search: "a", symbols: ["a"]}, first: 1) { nodes { id } } }',
         COINS + 2 * 60 + 2 * 20 * 11 + FIELD),
        (f'{{ coin(id: "{"a" * 4_256}") {{ id }} }}', READ + 4_000 // 16 + FIELD),
        ("{ latestPrices { price coin } }", READ + 44 * 40 + 3 * 2 * FIELD),
        ('{ latestPrices(coins: ["a", "b"], currencies: "usd") { price } }',
         READ + 2 * 40 + 2 * READ + 3 * 60 + FIELD),
        (ALIGNED,
         WINDOWS + 2 * (600 + 25) + (FIELD + 25) + FIELD + 2 * (FIELD + FIELD + 25)),
        (ALIGNED.replace(")", ", fill: PREVIOUS)", 1),
         WINDOWS + 2 * (2 * 600 + 25) + (FIELD + 25) + FIELD + 2 * (FIELD + FIELD + 25)),
        ('{ alignedPrices(coins: ["a", "b"], granularity: MONTH) { to } }',
         WINDOWS + 2 * (600 + 10 * DAYS + 15) + FIELD),
        (prices(", granularity: MONTH", "next"), series(15, FIELD) + 20 * DAYS),
        (prices(', granularity: WEEK, from: "2026-03-01"', "next"), series(5, FIELD) + 20 * 60),
        (prices(', granularity: WEEK, from: "2026-03-01", fill: PREVIOUS', "next"),
         series(5, FIELD) + 20 * DAYS),
        (prices(", first: 1", "coverage { expected }"), series(1, READ + 5 * HOURS + FIELD)),
        ("{ refreshRuns(first: 3) { nodes { id items { coin } } } }",
         SESSION + 3 * 300 + FIELD + 3 * (FIELD + READ + 44 * (300 + FIELD))),
        ('{ refreshRun(id: "a") { id } }', SESSION + FIELD),
        ("{ seriesStatus { coin } }", SESSION + 44 * (300 + FIELD)),
        ('{ anomalies(from: "2026-03-31T12:30:00Z", coins: ["a"], currencies: ["usd"]) { score } }',
         READ_BY_NAME + SEARCH + (25 + 24) * 44 * 2 + 25 // 20 * 3),
        ('{ anomalies(from: "2026-03-31T12:30:00Z", threshold: 1) { score } }',
         SEARCH + (25 + 24) * 44 * 2 + 44 * 25 // 2 * 3),
        ('{ anomalies(from: "2026-03-31T12:30:00Z", coins: [], window: 168) { score } }',
         READ + SEARCH + (25 + 168) * 44 * 7),
        ("subscription { priceUpdates { revision prices { price coin } } }",
         READ + 2 * FIELD + 3 * 2 * FIELD),
        ("subscription { priceUpdates(coins: []) { prices { price } } }", 2 * READ + FIELD),
        ('subscription { refreshProgress(runId: "a") { status items { coin } } }',
         SESSION + FIELD + READ + 44 * (300 + FIELD)),
        ("{ refreshPlan { calls series { coin windows { to } } } }",
         2 * SESSION + 44 * (2_000 + 4 * 2_160 + FIELD) + 2 * FIELD + 44 * (FIELD + FIELD)),
        ('{ refreshPlan(input: {coins: ["a"], days: 3}) { series { coin } } }',
         2 * SESSION + 4 * 2 * FIELD + FIELD + 4 * FIELD),
        ("query A { __typename } query B { coins { totalCount } }", FIELD),
    ],
)  # fmt: skip
def test_a_cost_by_hand(text: str, expected: int) -> None:
    assert cost(text).requested == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, series(50, FIELD + 50)),
        ({"first": 5}, series(5, FIELD + 5)),
        ({"first": None}, series(HOURS, FIELD + HOURS)),
        ({"first": "many"}, series(HOURS, FIELD + HOURS)),  # and will be refused
        ({"first": 10**30}, series(HOURS, FIELD + HOURS)),
        ({"first": -5}, series(0, FIELD)),
        ({"first": 5, "more": True}, series(5, 2 * FIELD + 3 * 5)),
        ({"first": 5, "less": True}, FIELD),
        ({"from": "2026-03-31T12:30:00Z"}, series(25, FIELD + 25)),
        ({"from": "yesterday"}, series(0, FIELD)),
        ({"from": ["2026-03-31"]}, series(0, FIELD)),
    ],
)
def test_defaults_of_variables_are_used(variables: dict[str, Any], expected: int) -> None:
    text = """
      query ($first: Int = 50, $from: DateTime, $more: Boolean! = false, $less: Boolean! = false) {
        ... @skip(if: $less) { prices(coin: "a", first: $first, from: $from) { ...F } }
        __typename @include(if: $less)
      }
      fragment F on PriceSeries {
        points { price }
        columns @include(if: $more) { prices timestamps }
      }
    """
    assert cost(text, variables).requested == expected


def test_a_named_type_counts_as_the_widest() -> None:
    widest = max(len(getattr(each, "fields", ())) for each in SCHEMA.type_map.values())
    text = '{ __type(name: "RefreshRun") { fields { name } } }'
    assert cost(text).requested >= widest * FIELD


def test_one_plan_serves_all_variables_and_operations() -> None:
    text = """
      query A($n: Int!) { prices(coin: "a", first: $n) { ...F } }
      query B($n: Int!) { coins(first: $n) { nodes { prices(first: $n) { ...F } } } }
      fragment F on PriceSeries { points { price } }
    """
    plan = CostPlan(SCHEMA, parse(text))
    for n in (3, 8, 3):
        one = series(n, FIELD + n)
        assert plan.cost("A", {"n": n}, NOW, EXTENT).requested == one
        assert plan.cost("B", {"n": n}, NOW, EXTENT).requested == COINS + n * one


def test_fragments_are_evaluated_once() -> None:
    """60 fragments that each spread the next one twice cannot be expanded."""
    chain = "".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60))
    last = "fragment F60 on Query " + prices(", first: $n", "next")
    text = "query ($n: Int) { ...F0 } " + chain + last
    found = cost(text, {"n": 7})
    assert found.requested == 2**60 * series(7, FIELD)


def test_the_costliest_field_is_named() -> None:
    found = cost('{ __typename big: prices(coin: "a") { points { price } } currencies { code } }')
    assert (found.costliest, found.costliest_requested) == ("big", series(HOURS, FIELD + HOURS))


def test_all_values_of_the_default_series_fit_in_one_operation() -> None:
    points = (
        "timestamp price marketCap volume observedAt open high low close samples partial filled"
    )
    each = (
        f'prices(coin: "a", from: "2026-01-01T12:30:00Z", first: 2160) {{ points {{ {points} }} }}'
    )
    text = " ".join(f"a{number}: {each}" for number in range(44))
    assert cost(f"{{ {text} }}").requested == 1_474_000


def test_introspection_has_a_cost() -> None:
    assert cost("{ __schema { types { name } } }").requested > len(SCHEMA.type_map)
