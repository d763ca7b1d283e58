"""Statistics, averages and downsampling over the wire, recomputed from the points."""

import math
import statistics
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.schema.refusals import refused
from tests.serving import Reader

LENGTH = {"HOUR": timedelta(hours=1), "DAY": timedelta(days=1)}
A_YEAR = {"HOUR": 8760, "DAY": 365}
QUERY = """
    query ($coin: ID! = "bitcoin", $currency: ID! = "usd", $granularity: Granularity! = HOUR,
           $order: SortDirection! = ASC, $first: Int, $from: DateTime, $to: DateTime,
           $window: Int! = 7, $most: Int! = 20) {
      prices(coin: $coin, currency: $currency, granularity: $granularity, order: $order,
             first: $first, from: $from, to: $to) {
        points { ...P }
        downsampled(maxPoints: $most) { ...P }
        simple: movingAverage(window: $window)
        exponential: movingAverage(window: $window, kind: EMA)
        statistics {
          count first { ...T } last { ...T } minimum { ...T } maximum { ...T }
          mean standardDeviation change changePercent volatility
          maximumDrawdown { percent peak { ...T } trough { ...T } }
        }
      }
    }
    fragment P on PricePoint {
      timestamp price marketCap volume observedAt open high low close samples partial
    }
    fragment T on TimedPrice { timestamp price }
"""


async def asked(reader: Reader, **variables: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await reader.data(QUERY, **variables))["prices"]
    return answer


def near(value: float | None) -> Any:
    return None if value is None else pytest.approx(value, rel=1e-11, abs=1e-15)


def recomputed(points: list[dict[str, Any]], granularity: str) -> dict[str, Any]:
    timed = [{"timestamp": point["timestamp"], "price": point["price"]} for point in points]
    prices = [each["price"] for each in timed]
    times = [datetime.fromisoformat(each["timestamp"]) for each in timed]
    returns = [
        math.log(prices[n] / prices[n - 1])
        for n in range(1, len(prices))
        if times[n] - times[n - 1] == LENGTH[granularity]
    ]
    depth, peak, trough = 0.0, None, None
    for number, earlier in enumerate(timed):
        for later in timed[number:]:
            if (fall := (earlier["price"] - later["price"]) / earlier["price"]) > depth:
                depth, peak, trough = fall, earlier, later
    change = prices[-1] - prices[0]
    return {
        "count": len(prices),
        "first": timed[0],
        "last": timed[-1],
        "minimum": min(timed, key=lambda each: each["price"]),
        "maximum": max(timed, key=lambda each: each["price"]),
        "mean": near(statistics.fmean(prices)),
        "standardDeviation": near(statistics.stdev(prices)),
        "change": near(change),
        "changePercent": near(change / prices[0] * 100),
        "volatility": near(statistics.stdev(returns) * math.sqrt(A_YEAR[granularity])),
        "maximumDrawdown": {"percent": near(depth * 100), "peak": peak, "trough": trough},
    }


def averages(prices: list[float], window: int) -> tuple[list[Any], list[Any]]:
    weight, simple, exponential = 2 / (window + 1), list[Any](), list[Any]()
    for end in range(1, len(prices) + 1):
        mean = statistics.fmean(prices[max(0, end - window) : end])
        simple.append(mean if end >= window else None)
        if end > window:
            mean = weight * prices[end - 1] + (1 - weight) * exponential[-1]
        exponential.append(mean if end >= window else None)
    return simple, exponential


@pytest.mark.parametrize("granularity", ["HOUR", "DAY"])
@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize(("coin", "currency"), [("bitcoin", "usd"), ("ethereum", "eur")])
async def test_a_whole_series(
    reader: Reader, granularity: str, order: str, coin: str, currency: str
) -> None:
    names = {"coin": coin, "currency": currency, "granularity": granularity, "order": order}
    answer = await asked(reader, window=3, **names)
    step = 1 if order == "ASC" else -1
    points = answer["points"][::step]
    assert answer["statistics"] == recomputed(points, granularity)
    simple, exponential = averages([point["price"] for point in points], 3)
    assert answer["simple"][::step] == [near(each) for each in simple]
    assert answer["exponential"][::step] == [near(each) for each in exponential]
    assert len(points) > (100 if granularity == "HOUR" else 4)


@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize("most", [4, 5, 20, 100])
async def test_downsampled_points_are_points(reader: Reader, order: str, most: int) -> None:
    answer = await asked(reader, order=order, most=most)
    points, kept = answer["points"], answer["downsampled"]
    assert most - 2 <= len(kept) <= most < len(points)
    assert [point for point in points if point in kept] == kept
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    for extreme in (min, max):
        assert extreme(points, key=lambda point: point["price"]) in kept
    assert (await asked(reader, order=order, most=10_000))["downsampled"] == points


async def test_a_page_is_what_counts(reader: Reader) -> None:
    for order in ("ASC", "DESC"):
        answer = await asked(reader, order=order, first=10)
        points = answer["points"] if order == "ASC" else answer["points"][::-1]
        assert answer["statistics"]["count"] == len(points) == 10
        assert answer["statistics"] == recomputed(points, "HOUR")


async def test_one_point_and_none(reader: Reader) -> None:
    single = await asked(reader, first=1)
    [point] = single["points"]
    only = {"timestamp": point["timestamp"], "price": point["price"]}
    known = {"count": 1, "mean": point["price"]}
    known |= dict.fromkeys(("first", "last", "minimum", "maximum"), only)
    assert {n: v for n, v in single["statistics"].items() if v is not None} == known
    assert (single["simple"], single["downsampled"]) == ([None], [point])
    none = await asked(reader, **{"from": "2020-01-01", "to": "2020-01-02"})
    assert {n: v for n, v in none["statistics"].items() if v is not None} == {"count": 0}
    assert (none["simple"], none["exponential"], none["downsampled"]) == ([], [], [])


async def test_an_hour_that_begins_at_to_is_out(reader: Reader) -> None:
    points = (await asked(reader))["points"]
    edges = {"from": points[3]["timestamp"], "to": points[20]["timestamp"]}
    answer = await asked(reader, **edges)
    assert answer["statistics"] == recomputed(points[3:20], "HOUR")
    assert len(answer["simple"]) == 17


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("movingAverage(window: 0)", "`window` must be between 1 and 10,000, not 0."),
        ("movingAverage(window: -5, kind: EMA)", "`window` must be between 1 and 10,000, not -5."),
        ("movingAverage(window: 10001)", "`window` must be between 1 and 10,000, not 10,001."),
        ("downsampled(maxPoints: 3) { price }", "`maxPoints` must be between 4 and 10,000, not 3."),
        ("downsampled(maxPoints: 10001) { price }", "not 10,001."),
    ],
)
async def test_invalid_numbers_are_rejected(reader: Reader, field: str, words: str) -> None:
    query = f'{{ prices(coin: "bitcoin") {{ {field} }} }}'
    status, code, message = await refused(reader, query)
    assert (status, code) == (400, "BAD_USER_INPUT")
    assert words in message


async def test_nested_in_coins(reader: Reader) -> None:
    query = """{ coins { nodes { prices(first: 30) {
        points { price } movingAverage(window: 30) statistics { mean }
    } } } }"""
    nodes = (await reader.data(query))["coins"]["nodes"]
    for prices in (node["prices"] for node in nodes):
        mean = near(statistics.fmean(point["price"] for point in prices["points"]))
        assert prices["movingAverage"] == [None] * 29 + [mean]
        assert prices["statistics"] == {"mean": mean}
    assert len(nodes) == 2
