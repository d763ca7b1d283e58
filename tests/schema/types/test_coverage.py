"""Coverage over the wire, compared with the stored rows and the calendar."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from models.postgres.database import Database
from simulator import Simulator
from tests.counting import statements
from tests.schema.sample_series import (
    FIRST,
    GRANULARITIES,
    LAST,
    LISTED,
    NOW,
    following,
    points_of,
    starts_between,
    store_all,
    text,
)
from tests.schema.series_query import series
from tests.serving import TOKEN, Reader, live_server, make_settings

REFRESH = "mutation { refreshPrices(input: {wait: true}) { run { status } } }"


def expected(coin: str, granularity: str, start: datetime, end: datetime) -> dict[str, Any]:
    points = points_of((coin, "usd"), granularity)
    first = max(start, min(points, default=end))
    wanted = list(starts_between(granularity, first, end))
    present = [at for at in wanted if at in points]
    gaps: list[dict[str, Any]] = []
    for at in wanted:
        begin, after = text(at), text(following(granularity, at))
        if at in points:
            continue
        if gaps and gaps[-1]["to"] == begin:
            gaps[-1]["to"] = after
            gaps[-1]["buckets"] += 1
        else:
            never_asked = {"askedSince": None, "askedTimes": 0, "nextAsk": None}
            gap = {"from": begin, "to": after, "buckets": 1, "upstream": False}
            gaps.append(gap | never_asked)
    return {
        "expected": len(wanted),
        "present": len(present),
        "firstAvailable": text(present[0]) if present else None,
        "lastAvailable": text(present[-1]) if present else None,
        "gaps": gaps,
    }


@pytest.mark.slow
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("coin", ["gappy", "single", "none", "tiny"])
async def test_any_range(made: Reader, coin: str, granularity: str) -> None:
    for start, end in (
        (FIRST - timedelta(days=40), LAST + timedelta(days=40)),
        (FIRST + timedelta(days=3, minutes=1), LAST - timedelta(days=3, minutes=1)),
        (datetime(2021, 1, 7, tzinfo=UTC), datetime(2021, 1, 8, tzinfo=UTC)),
        (datetime(2021, 1, 12, tzinfo=UTC), datetime(2021, 1, 13, tzinfo=UTC)),
        (LAST, LAST),
        (FIRST - timedelta(days=18), FIRST - timedelta(days=15)),
    ):
        wanted = expected(coin, granularity, start, end)
        edges = {"from": text(start), "to": text(end)}
        for more in ({}, {"first": 1}, {"order": "DESC", "first": 3}, {"fill": "PREVIOUS"}):
            answer = await series(made, coin=coin, granularity=granularity, **edges, **more)
            assert answer["coverage"] == wanted, (start, end, more)
    assert wanted == {
        "expected": 0, "present": 0, "firstAvailable": None, "lastAvailable": None, "gaps": [],
    }  # fmt: skip


async def test_a_day_of_24_hours(made: Reader) -> None:
    day = datetime(2021, 1, 7, tzinfo=UTC)
    hours = [at for at in points_of(("gappy", "usd"), "HOUR") if at.date() == day.date()]
    edges = {"from": text(day), "to": text(day + timedelta(days=1))}
    found = (await series(made, **edges))["coverage"]
    assert (found["expected"], found["present"]) == (24, len(hours))
    assert sum(gap["buckets"] for gap in found["gaps"]) == 24 - len(hours) > 0


async def test_a_coin_that_was_listed_a_week_ago(made: Reader) -> None:
    """Requested for 90 days: the time before it was listed is no gap."""
    for edges in ({}, {"from": text(NOW - timedelta(days=60))}):
        found = (await series(made, coin="young", **edges))["coverage"]
        assert found["expected"] >= 7 * 24 + 1
        assert found["present"] == 7 * 24 + 1
        assert found["firstAvailable"] == text(LISTED)
        assert found["lastAvailable"] == text(NOW)
        # the hours that have gone by since the data was made, none while the same one runs
        assert sum(gap["buckets"] for gap in found["gaps"]) == found["expected"] - 7 * 24 - 1


async def test_hours_lost_in_an_outage_are_a_gap(made: Reader) -> None:
    before = datetime.now(UTC)
    found = (await series(made, granularity="DAY", to="2199-12-31", first=1))["coverage"]
    after = datetime.now(UTC)
    last = found["gaps"][-1]
    assert last["from"] == "2021-03-04T00:00:00Z"
    assert last["to"] in {f"{now:%Y-%m-%d}T00:00:00Z" for now in (before, after)}


@pytest.mark.slow
async def test_it_reads_no_prices_in_one_statement(
    database_url: str, shared_simulator: Simulator
) -> None:
    database = Database(database_url)
    await store_all(database)
    await database.close()
    query = """{
      a: prices(coin: "gappy", to: "2021-04-01") { coverage { present } }
      b: prices(coin: "tiny", to: "2021-04-01") { coverage { present } }
      coins { nodes { prices(from: "2021-01-01", to: "2021-02-01") { coverage { expected } } } }
    }"""
    settings = make_settings(database_url, shared_simulator, coins="gappy", currencies="usd")
    async with live_server(settings) as server:
        await server.data(REFRESH, token=TOKEN)  # so that no refresh reads at the same time
        async with statements(server.application.database, background=False) as sent:
            await server.data(query)
            await asyncio.sleep(0)
    reading = [statement for statement in sent if "price_hourly" in statement]
    assert len(reading) <= 4, "two of the root's, two of the coins', each for itself"
    assert not any(word in statement for statement in reading for word in ("float8send", "volume"))


async def test_a_gap_shows_the_requests_for_it(
    database_url: str, sql: asyncpg.Connection, shared_simulator: Simulator
) -> None:
    database = Database(database_url)
    await store_all(database)
    await database.close()
    query = """{ prices(coin: "gappy", to: "2021-04-01") {
      coverage { gaps { from to buckets upstream askedSince askedTimes nextAsk } } } }"""
    settings = make_settings(
        database_url, shared_simulator, coins="bitcoin", currencies="usd", cache_megabytes=0
    )
    now = datetime.now(UTC).replace(microsecond=0)
    day, hour = timedelta(days=1), timedelta(hours=1)
    async with live_server(settings) as server:
        gaps = (await server.data(query))["prices"]["coverage"]["gaps"]
        assert not any(gap["upstream"] for gap in gaps)
        assert {(gap["askedSince"], gap["askedTimes"], gap["nextAsk"]) for gap in gaps} == {
            (None, 0, None)
        }
        several = next(number for number, gap in enumerate(gaps) if gap["buckets"] > 1)
        asked = [  # which gap, without how many of its hours; counts; for how long
            (0, 0, 9, 9, 8 * day),
            (several, 1, 9, 9, 8 * day),
            (several + 1, 0, 9, 4, 8 * day),
            (several + 2, 0, 3, 3, 2 * hour),
            (several + 3, 0, 1, 1, 0 * hour),
        ]
        for number, hours, times, answered, lasted in asked:
            await sql.execute(
                "INSERT INTO price_gap SELECT id, $1, $2, $3, $4, $5, $6 FROM series"
                " WHERE coin_id = 'gappy' AND currency_code = 'usd'",
                datetime.fromisoformat(gaps[number]["from"]) + hours * hour,
                datetime.fromisoformat(gaps[number]["to"]),
                times,
                answered,
                now - hour - lasted,
                now - hour,
            )
        after = (await server.data(query))["prices"]["coverage"]["gaps"]
    assert [number for number, gap in enumerate(after) if gap["upstream"]] == [0]
    for number, hours, times, _, lasted in asked:
        gap = after[number]
        assert (gap["askedSince"], gap["askedTimes"]) == (text(now - hour - lasted), times)
        pause = {8 * day: 3 * day, 2 * hour: 6 * hour, 0 * hour: None}[lasted]
        # what was never asked for is by the next refresh
        expected = None if hours or pause is None else text(now - hour + pause)
        assert gap["nextAsk"] == expected


async def test_the_configured_history_is_expected_of_tracked_series_only(
    database_url: str, shared_simulator: Simulator
) -> None:
    """The server's refreshes fail, so that nothing arrives meanwhile."""
    database = Database(database_url)
    await store_all(database)
    await database.close()
    query = """query ($coin: ID!, $currency: ID!, $of: Granularity!, $from: DateTime!) {
      prices(coin: $coin, currency: $currency, from: $from, granularity: $of) {
        coverage { expected present } } }"""
    settings = make_settings(
        database_url,
        shared_simulator,
        coins="none,single",
        currencies="usd",
        history_days=90,
        cache_megabytes=0,
        coingecko_base_url="http://127.0.0.1:9",
    )
    start = datetime.now(UTC) - timedelta(days=400)
    async with live_server(settings) as server:

        async def shown(coin: str, of: str, currency: str = "usd") -> tuple[int, int]:
            edges = {"coin": coin, "currency": currency, "of": of, "from": text(start)}
            found = (await server.data(query, **edges))["prices"]["coverage"]
            return found["expected"], found["present"]

        hours, there = await shown("none", "HOUR")
        assert (hours in {90 * 24, 90 * 24 + 1}, there) == (True, 0)
        days, there = await shown("none", "DAY")
        assert (days in {364, 365}, there) == (True, 0)
        assert (await shown("none", "WEEK"))[0] in {51, 52, 53}
        assert (await shown("none", "MONTH"))[0] in {11, 12}
        assert await shown("none", "HOUR", "eur") == (0, 0)
        # a history that reaches further back than the settings ask for
        start = datetime.now(UTC) - timedelta(days=200)
        assert (await shown("single", "HOUR"))[0] >= 200 * 24 - 1
