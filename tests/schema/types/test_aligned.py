"""Several series on one timeline, compared with each series alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.postgres.database import Database
from simulator import Simulator
from tests.counting import statements
from tests.schema.refusals import refused
from tests.schema.sample_series import (
    FIRST,
    GRANULARITIES,
    LAST,
    LISTED,
    NOW,
    filled,
    points_of,
    store_all,
    text,
)
from tests.serving import Client, Reader, live_server, make_settings

ALIGNED = """
    query ($coins: [ID!]!, $currencies: [ID!]! = ["usd"], $from: DateTime, $to: DateTime,
           $granularity: Granularity! = HOUR, $fill: FillPolicy! = NULL) {
      alignedPrices(coins: $coins, currencies: $currencies, from: $from, to: $to,
                    granularity: $granularity, fill: $fill) {
        granularity from to timestamps series { coin currency prices revision }
      }
    }
"""
COINS = ["tiny", "gappy", "single", "none", "huge"]
EDGES = {"from": "2020-11-01", "to": "2021-03-20"}
START, END = datetime(2020, 11, 1, tzinfo=UTC), datetime(2021, 3, 20, tzinfo=UTC)


async def aligned(client: Client, **variables: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.data(ALIGNED, **variables))["alignedPrices"]
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("fill", ["NULL", "PREVIOUS"])
async def test_every_bucket_of_every_series(made: Reader, fill: str, granularity: str) -> None:
    answer = await aligned(made, coins=COINS, granularity=granularity, fill=fill, **EDGES)
    for coin, row in zip(COINS, answer["series"], strict=True):
        points = points_of((coin, "usd"), granularity)
        expected = filled(points, granularity, START, END, carried=fill == "PREVIOUS")
        assert (row["coin"], row["currency"]) == (coin, "usd")
        assert answer["timestamps"] == [point["timestamp"] for point in expected]
        assert row["prices"] == [point["price"] for point in expected]
    assert answer["granularity"] == granularity
    assert (answer["from"], answer["to"]) == (text(START), text(END))


@pytest.mark.parametrize("granularity", GRANULARITIES)
async def test_only_buckets_with_a_price(made: Reader, granularity: str) -> None:
    coins = ["gappy", "single", "none"]
    answer = await aligned(made, coins=coins, granularity=granularity, fill="NONE", **EDGES)
    points = {coin: points_of((coin, "usd"), granularity) for coin in coins}
    starts = sorted({at for own in points.values() for at in own})
    assert answer["timestamps"] == [text(at) for at in starts]
    for row in answer["series"]:
        own = points[row["coin"]]
        assert row["prices"] == [own[at]["price"] if at in own else None for at in starts]


async def test_series_are_in_the_order_of_the_arguments(made: Reader) -> None:
    answer = await aligned(made, coins=[" GAPPY "], currencies=["eur", "USD", "eur"], **EDGES)
    named = [(row["coin"], row["currency"]) for row in answer["series"]]
    assert named == [("gappy", "eur"), ("gappy", "usd")]
    assert answer["series"][0]["prices"] != answer["series"][1]["prices"]
    rows = await made.sql.fetch("SELECT * FROM series WHERE coin_id = 'gappy'")
    expected = {row["currency_code"]: row["revision"] for row in rows}
    assert {row["currency"]: row["revision"] for row in answer["series"]} == expected


async def test_ranges_are_half_open(made: Reader) -> None:
    first, last = datetime(2021, 2, 1, tzinfo=UTC), datetime(2021, 2, 2, tzinfo=UTC)
    for start, end, hours in (
        (first, last, 24),
        (first + timedelta(seconds=1), last, 23),
        (first, last + timedelta(seconds=1), 25),
        (first, first, 0),
    ):
        edges = {"from": text(start), "to": text(end)}
        answer = await aligned(made, coins=["gappy", "tiny"], **edges)
        assert len(answer["timestamps"]) == hours
        assert {len(row["prices"]) for row in answer["series"]} == {hours}


async def test_the_default_range_is_the_stored_history(made: Reader) -> None:
    before = datetime.now(UTC)
    answer = await aligned(made, coins=["young"], fill="PREVIOUS")
    stamps, (row,) = answer["timestamps"], answer["series"]
    assert answer["from"] == stamps[0] == text(NOW - timedelta(days=90))
    newest = datetime.fromisoformat(stamps[-1])
    assert before - timedelta(hours=1) < newest < datetime.now(UTC)
    known = [at for at, price in zip(stamps, row["prices"], strict=True) if price is not None]
    assert known[0] == text(LISTED)
    far = await aligned(made, coins=["young"], to=text(NOW + timedelta(days=300)))
    assert datetime.fromisoformat(far["timestamps"][-1]) < datetime.now(UTC)


async def test_a_price_from_before_is_carried_in(made: Reader) -> None:
    start = FIRST + timedelta(hours=1300)  # in a gap of nine days
    edges = {"from": text(start), "to": text(start + timedelta(hours=5))}
    answer = await aligned(made, coins=["gappy", "none"], fill="PREVIOUS", **edges)
    hours = points_of(("gappy", "usd"), "HOUR")
    last = hours[max(at for at in hours if at < start)]["price"]
    assert [row["prices"] for row in answer["series"]] == [[last] * 5, [None] * 5]


@pytest.mark.parametrize(
    ("variables", "status", "code", "words"),
    [
        ({"coins": ["gappy", "nope"]}, 404, "NOT_FOUND", ["no coin 'nope'"]),
        ({"coins": ["gappy"], "currencies": ["xyz"]}, 404, "NOT_FOUND", ["no currency 'xyz'"]),
        ({"coins": ["nope"], "currencies": ["xyz"]}, 404, "NOT_FOUND", ["no coin 'nope'"]),
        ({"coins": []}, 400, "BAD_USER_INPUT", ["at least one of `coins`"]),
        ({"coins": ["gappy"], "currencies": []}, 400, "BAD_USER_INPUT", ["`currencies`"]),
        ({"coins": ["gappy"], "from": "2021-02-01", "to": "2021-01-01"}, 400, "BAD_USER_INPUT",
         ["lies after"]),
        ({"coins": [f"coin-{n}" for n in range(101)]}, 400, "RANGE_TOO_LARGE",
         ["101 series, more than 100"]),
        ({"coins": ["a", "b", "c"], "from": "2010-01-01", "to": "2020-01-01"}, 400,
         "RANGE_TOO_LARGE",
         ["3 series × 87,648 buckets are 262,944 prices", "`granularity: DAY`",
          "at most 66,666 buckets", "at most 2 series"]),
        ({"coins": ["a"], "from": "1970-01-01", "to": "2200-01-01"}, 400, "RANGE_TOO_LARGE",
         ["`granularity: DAY`", "at most 200,000 buckets"]),
        ({"coins": [f"coin-{n}" for n in range(21)], "granularity": "DAY", "from": "1970-01-01",
          "to": "2200-01-01"}, 400, "RANGE_TOO_LARGE", ["`granularity: MONTH`"]),
    ],
)  # fmt: skip
async def test_rejected_arguments(
    made: Reader, variables: dict[str, Any], status: int, code: str, words: list[str]
) -> None:
    found = await refused(made, ALIGNED, **variables)
    assert found[:2] == (status, code)
    assert all(word in found[2] for word in words), found[2]


async def test_the_size_limit_is_inclusive(made: Reader) -> None:
    """Counted exactly: 4 series × 50,000 hours."""
    coins = ["constant", "gappy", "huge", "tiny"]
    end = LAST + timedelta(hours=1)
    start = end - timedelta(hours=50_000)
    edges = {"from": text(start), "to": text(end)}
    answer = await aligned(made, coins=coins, **edges)
    assert len(answer["timestamps"]) == 50_000
    earlier = {**edges, "from": text(start - timedelta(hours=1))}
    assert (await refused(made, ALIGNED, coins=coins, **earlier))[1] == "RANGE_TOO_LARGE"


async def test_a_stored_history_that_is_too_long_is_rejected(made: Reader) -> None:
    coins = ["constant", "gappy", "huge", "tiny", "single"]
    found = await refused(made, ALIGNED, coins=coins, to="2026-01-01")
    assert found[1] == "RANGE_TOO_LARGE"


async def test_one_statement(database_url: str, shared_simulator: Simulator) -> None:
    database = Database(database_url)
    await store_all(database)
    await database.close()
    settings = make_settings(database_url, shared_simulator, coins="gappy", currencies="usd")
    async with live_server(settings) as server:
        for fill in ("NONE", "NULL", "PREVIOUS"):
            async with statements(server.application.database, background=False) as sent:
                await aligned(server, coins=COINS, fill=fill, **EDGES)
            assert len(sent) == 1
