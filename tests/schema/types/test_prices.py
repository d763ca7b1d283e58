"""Price series over the wire, compared with the tables, the upstream and arithmetic."""

from datetime import UTC, datetime, timedelta
from itertools import groupby
from statistics import fmean
from typing import Any

import httpx
import pytest

from simulator import Simulator
from tests.serving import PATIENCE, Reader

SERIES = """
    query Series($coin: ID! = "bitcoin", $currency: ID! = "usd", $from: DateTime, $to: DateTime,
                 $granularity: Granularity! = HOUR, $order: SortDirection! = ASC, $first: Int) {
      prices(coin: $coin, currency: $currency, from: $from, to: $to, granularity: $granularity,
             order: $order, first: $first) {
        coin currency granularity from to revision next
        points { timestamp price marketCap volume observedAt open high low close samples partial }
      }
    }
"""


def text(instant: datetime) -> str:
    """Format as RFC 3339 without trailing zeros."""
    plain = instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{plain}Z"


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written)


async def series(reader: Reader, **variables: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await reader.data(SERIES, **variables))["prices"]
    return answer


async def stored_hours(reader: Reader, coin: str, currency: str) -> list[Any]:
    return list(
        await reader.sql.fetch(
            """SELECT hour.* FROM price_hourly AS hour JOIN series ON series.id = series_id
            WHERE coin_id = $1 AND currency_code = $2 ORDER BY bucket""",
            coin,
            currency,
        )
    )


@pytest.mark.parametrize(("coin", "currency"), [("bitcoin", "usd"), ("ethereum", "eur")])
async def test_all_hours_as_they_are_stored(reader: Reader, coin: str, currency: str) -> None:
    answer = await series(reader, coin=coin, currency=currency)
    rows = await stored_hours(reader, coin, currency)
    assert len(rows) > 100
    assert answer["points"] == [
        {
            "timestamp": text(row["bucket"]),
            "price": row["price"],
            "marketCap": row["market_cap"],
            "volume": row["volume"],
            "observedAt": text(row["observed_at"]),
            "open": None,
            "high": None,
            "low": None,
            "close": None,
            "samples": 1,
            "partial": datetime.now(UTC) < row["bucket"] + timedelta(hours=1),
        }
        for row in rows
    ]
    assert answer["next"] is None
    assert {name: answer[name] for name in ("coin", "currency", "granularity")} == {
        "coin": coin,
        "currency": currency,
        "granularity": "HOUR",
    }
    known = await reader.sql.fetchrow(
        "SELECT * FROM series WHERE coin_id = $1 AND currency_code = $2", coin, currency
    )
    assert known is not None
    assert answer["from"] == text(known["history_from"])
    assert answer["revision"] == known["revision"]
    assert abs(moment(answer["to"]) - datetime.now(UTC)) < timedelta(minutes=2)


async def test_hours_are_the_earliest_observations_of_the_upstream(
    reader: Reader, shared_simulator: Simulator
) -> None:
    points = (await series(reader))["points"]
    begin, end = moment(points[0]["timestamp"]), moment(points[-1]["timestamp"])
    path = f"{shared_simulator.base_url}/coins/bitcoin/market_chart/range"
    window = f"vs_currency=usd&from={begin.timestamp()}&to={end.timestamp()}"
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        chart = (await http.get(f"{path}?{window}")).json()
    samples = [(ms, price) for ms, price in chart["prices"] if price is not None]
    hours = {hour: next(group) for hour, group in groupby(sorted(samples), lambda s: s[0] // 3.6e6)}
    expected = [
        (text(datetime.fromtimestamp(ms / 1000, UTC)), price)
        for ms, price in hours.values()
        if ms < end.timestamp() * 1000
    ]
    assert [(p["observedAt"], p["price"]) for p in points if p["timestamp"] < text(end)] == expected
    assert len({written[-5:] for written, _ in expected}) > 50, "milliseconds are kept"


async def test_days_are_made_of_their_hours(reader: Reader) -> None:
    start = text(moment((await series(reader))["from"]))
    hours = (await series(reader, **{"from": start}))["points"]
    days = (await series(reader, granularity="DAY"))["points"]
    expected = []
    for day, group in groupby(hours, lambda point: point["timestamp"][:10]):
        if f"{day}T00:00:00Z" < start:
            continue  # the stored history begins within this day, so it is no complete day
        of_day = list(group)
        prices = [point["price"] for point in of_day]
        caps = [point["marketCap"] for point in of_day if point["marketCap"] is not None]
        volumes = [point["volume"] for point in of_day if point["volume"] is not None]
        expected.append(
            {
                "timestamp": f"{day}T00:00:00Z",
                "price": pytest.approx(fmean(prices), rel=1e-14),
                "marketCap": caps[-1],
                "volume": volumes[-1],
                "observedAt": None,
                "open": prices[0],
                "high": max(prices),
                "low": min(prices),
                "close": prices[-1],
                "samples": len(prices),
                "partial": day == f"{datetime.now(UTC):%Y-%m-%d}",
            }
        )
    assert len(expected) >= 5
    before = [day for day in days if day["timestamp"] < start]
    assert days[len(before) :] == expected
    assert len(before) > 350
    for day in before:  # upstream's daily points: all that is known is the price at midnight
        assert {day[name] for name in ("open", "high", "low", "close")} == {day["price"]}
        assert (day["samples"], day["partial"]) == (1, False)


@pytest.mark.parametrize("granularity", ["HOUR", "DAY"])
async def test_only_the_running_bucket_is_partial(reader: Reader, granularity: str) -> None:
    points = (await series(reader, granularity=granularity))["points"]
    form = "%Y-%m-%dT%H:00:00Z" if granularity == "HOUR" else "%Y-%m-%dT00:00:00Z"
    running = datetime.now(UTC).strftime(form)
    assert [p["timestamp"] for p in points if p["partial"]] in ([running], [])
    assert all(p["partial"] == (p["timestamp"] == running) for p in points)


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["HOUR", "DAY"])
@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize("first", [1, 2, 7, 1000])
async def test_pages_make_up_the_whole_range(
    reader: Reader, granularity: str, order: str, first: int
) -> None:
    whole = await series(reader, granularity=granularity)
    start, end = whole["from"], whole["to"]
    if first < 7:  # few enough for pages of one
        length = timedelta(hours=9) if granularity == "HOUR" else timedelta(days=9)
        start = text(moment(end) - length)
    expected = [p for p in whole["points"] if start <= p["timestamp"] < end]
    walked: list[Any] = []
    page = {"from": start, "to": end}
    for _ in range(200):
        answer = await series(reader, granularity=granularity, order=order, first=first, **page)
        assert len(answer["points"]) <= first
        walked += answer["points"]
        if answer["next"] is None:
            break
        assert len(answer["points"]) == first, "only the last page may be short"
        page["from" if order == "ASC" else "to"] = answer["next"]
    assert walked == (expected if order == "ASC" else expected[::-1])
    assert len(walked) > 4


async def test_a_page_that_ends_with_the_data_is_the_last(reader: Reader) -> None:
    points = (await series(reader))["points"]
    edges = {"from": points[0]["timestamp"], "to": points[4]["timestamp"]}
    for order in ("ASC", "DESC"):
        exact = await series(reader, order=order, first=4, **edges)
        assert (len(exact["points"]), exact["next"]) == (4, None)
        short = await series(reader, order=order, first=3, **edges)
        assert (len(short["points"]), short["next"] is None) == (3, False)


async def test_ranges_are_half_open(reader: Reader) -> None:
    points = (await series(reader))["points"]
    third, sixth = points[3]["timestamp"], points[6]["timestamp"]
    answer = await series(reader, **{"from": third, "to": sixth})
    assert answer["points"] == points[3:6]
    assert (answer["from"], answer["to"]) == (third, sixth)
    later = text(moment(third) + timedelta(milliseconds=1))
    after = text(moment(sixth) + timedelta(milliseconds=1))
    assert (await series(reader, **{"from": later, "to": after}))["points"] == points[4:7]


async def test_days_of_a_half_open_range(reader: Reader) -> None:
    days = (await series(reader, granularity="DAY"))["points"]
    day, following = days[1]["timestamp"], days[2]["timestamp"]
    for edges, expected in (
        ({"from": day, "to": following}, days[1:2]),
        ({"from": day[:10], "to": following[:10]}, days[1:2]),
        ({"from": day, "to": following.replace("00:00:00", "00:00:01")}, days[1:3]),
        ({"from": day.replace("00:00:00", "00:00:01"), "to": following}, []),
    ):
        assert (await series(reader, granularity="DAY", **edges))["points"] == expected, edges


async def test_an_empty_range_is_an_empty_answer(reader: Reader) -> None:
    here = (await series(reader))["points"][3]["timestamp"]
    for granularity in ("HOUR", "DAY"):
        answer = await series(reader, granularity=granularity, **{"from": here, "to": here})
        assert (answer["points"], answer["next"]) == ([], None)


async def test_edges_in_other_spellings_are_the_same_instants(reader: Reader) -> None:
    day = (await series(reader))["points"][24]["timestamp"][:10]
    before = text(moment(f"{day}T00:00:00Z") - timedelta(days=1))[:10]
    expected = await series(reader, **{"from": f"{day}T00:00:00Z", "to": f"{day}T05:00:00Z"})
    assert len(expected["points"]) in {4, 5}
    for start, end in (
        (day, f"{day}T05:00:00Z"),
        (f"{day}T02:00:00+02:00", f"{day}T07:00+02:00"),
        (f"{before}T19:00:00-05:00", f"{day}t05:00:00.000z"),
        (f"{day} 05:30:00+05:30", f"{day}T05:00Z"),
    ):
        assert await series(reader, **{"from": start, "to": end}) == expected, (start, end)


async def test_edges_far_from_the_data(reader: Reader) -> None:
    whole = await series(reader)
    early = await series(reader, to="1999-12-31")
    assert (early["points"], early["from"], early["to"]) == ([], *["1999-12-31T00:00:00Z"] * 2)
    late = await series(reader, **{"from": whole["from"], "to": "2200-01-01", "first": 10_000})
    assert [p["timestamp"] for p in late["points"]] == [p["timestamp"] for p in whole["points"]]
    assert late["next"] is None


async def test_names_may_be_written_in_any_case(reader: Reader) -> None:
    assert (await series(reader, coin=" BitCoin ", currency="USD"))["coin"] == "bitcoin"
