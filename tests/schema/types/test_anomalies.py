"""Anomalies over the wire, compared with a plain Python reference."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from resolvers.analysis import anomalies
from simulator import Simulator
from tests.counting import statements
from tests.resolvers.reference_anomalies import Key
from tests.schema.anomaly_scenario import (
    COINS,
    CRASH,
    CURRENCIES,
    EPOCH,
    FLASH,
    FROZEN,
    HOURS,
    KEYS,
    LONELY,
    QUERY,
    RATE,
    AnomalyScenario,
    story,
)
from tests.serving import LiveServer, Reader, live_server, make_settings


@pytest.fixture
async def scenario(
    database_url: str, sql: asyncpg.Connection, shared_simulator: Simulator
) -> AsyncIterator[AnomalyScenario]:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start, prices = now - timedelta(hours=HOURS), story()
    await sql.execute(
        "INSERT INTO currency SELECT c, c, c FROM unnest($1::text[]) AS c", CURRENCIES
    )
    await sql.execute(
        "INSERT INTO coin (id, symbol, name) SELECT c, c, c FROM unnest($1::text[]) AS c", COINS
    )
    for (coin, currency), hours in prices.items():
        series = await sql.fetchval(
            "INSERT INTO series (coin_id, currency_code, history_from, last_success_at)"
            " VALUES ($1, $2, $3, now()) RETURNING id",
            coin,
            currency,
            start,
        )
        times = [start + timedelta(hours=hour) for hour in hours]
        await sql.execute(
            "INSERT INTO price_hourly (series_id, bucket, observed_at, price)"
            " SELECT $1, at, at, price"
            " FROM unnest($2::timestamptz[], $3::float8[]) AS p (at, price)",
            series,
            times,
            list(hours.values()),
        )
    settings = make_settings(
        database_url,
        shared_simulator,
        coins=",".join(COINS),
        currencies=",".join(CURRENCIES),
        cache_megabytes=0,  # what is asked is searched for
    )
    async with live_server(settings) as server:
        yield AnomalyScenario(server, start, prices)


async def test_all_that_is_stored(scenario: AnomalyScenario) -> None:
    for threshold, window in ((4.0, 24), (2.5, 12), (6.0, 100)):
        rows = await scenario.ask(threshold=threshold, window=window)
        assert rows == scenario.expected(range(HOURS), threshold, window)
        assert len(rows) > 15


async def test_one_event_of_each_kind(scenario: AnomalyScenario) -> None:
    rows = [row for row in await scenario.ask() if row["score"] > 10]

    def at(hour: int, scope: str, direction: str) -> set[Key]:
        wanted = (scenario.time(hour), scope, direction)
        keys = ("timestamp", "scope", "direction")
        found = [row for row in rows if tuple(row[key] for key in keys) == wanted]
        return {(row["coin"], row["currency"]) for row in found}

    assert at(FLASH, "UPSTREAM", "UP") == at(FLASH + 1, "UPSTREAM", "DOWN") == {("b", "gbp")}
    assert at(RATE, "CURRENCY", "UP") == {(coin, "usd") for coin in COINS}
    assert at(CRASH, "MARKET", "DOWN") == set(KEYS)
    assert at(LONELY, "COIN", "UP") == {("c", currency) for currency in CURRENCIES}
    assert at(FROZEN, "UPSTREAM", "UP") | at(FROZEN, "UPSTREAM", "DOWN") == {("d", "eur")}


async def test_a_part_equals_that_part_of_the_whole(scenario: AnomalyScenario) -> None:
    whole = await scenario.ask()
    part = await scenario.ask(coins=[" A ", "c"], currencies=["USD"])
    assert part == [row for row in whole if row["coin"] in "ac" and row["currency"] == "usd"]
    assert {row["coinsCompared"] for row in part} == {4}
    edges = {"from": scenario.time(RATE), "to": scenario.time(CRASH)}
    within = await scenario.ask(**edges)
    assert within == [row for row in whole if edges["from"] <= row["timestamp"] < edges["to"]]
    assert {row["timestamp"] for row in within} >= {edges["from"]}
    inside = {"from": edges["from"].replace(":00Z", ":01Z"), "to": edges["to"]}
    assert await scenario.ask(**inside) == [r for r in within if r["timestamp"] > edges["from"]]
    assert await scenario.ask(**{"from": edges["to"], "to": edges["to"]}) == []
    assert await scenario.ask(coins=[]) == []


async def test_prices_are_not_altered(scenario: AnomalyScenario) -> None:
    flagged = [row for row in await scenario.ask() if row["scope"] == "UPSTREAM"]
    for row in flagged:
        query = """query ($coin: ID!, $currency: ID!, $from: DateTime) {
            prices(coin: $coin, currency: $currency, from: $from, first: 1) { points { price } }
        }"""
        names = {"coin": row["coin"], "currency": row["currency"], "from": row["timestamp"]}
        [point] = (await scenario.server.data(query, **names))["prices"]["points"]
        assert point["price"] == row["price"]
    assert len(flagged) > 2


async def test_all_prices_come_with_one_statement(scenario: AnomalyScenario) -> None:
    counts = []
    assert isinstance(scenario.server, LiveServer)
    for coins in (["a"], COINS):
        async with statements(scenario.server.application.database, background=False) as sent:
            await scenario.ask(coins=coins)
        assert len([query for query in sent if "float8send" in query]) == 1
        counts.append(len(sent))
    assert counts[0] == counts[1] < 6


async def test_too_many_other_series_are_not_compared(
    scenario: AnomalyScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then only the requested ones are compared with each other."""
    monkeypatch.setattr(anomalies, "MOST_CELLS", 3 * (HOURS + 1))
    asked = {(coin, currency) for coin in "abc" for currency in ["usd"]}
    alone = {key: scenario.prices[key] for key in asked}
    rows = await scenario.ask(coins=["a", "b", "c"], currencies=["usd"])
    assert rows == AnomalyScenario(scenario.server, scenario.start, alone).expected(range(HOURS))
    assert {row["coinsCompared"] for row in rows} == {3}
    status, code, message = await scenario.server.error(QUERY)
    assert (status, code) == (400, "RANGE_TOO_LARGE")
    assert "12 series over 1" in message
    assert "fewer `coins` or `currencies`" in message


async def test_too_many_anomalies_are_rejected(
    scenario: AnomalyScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = len(await scenario.ask())
    monkeypatch.setattr(anomalies, "MOST_ANOMALIES", number - 1)
    status, code, message = await scenario.server.error(QUERY)
    assert (status, code) == (400, "RANGE_TOO_LARGE")
    assert f"There are {number} anomalies, more than {number - 1}" in message
    assert "higher `threshold`" in message


async def test_data_of_the_simulator(reader: Reader) -> None:
    rows = await reader.sql.fetch(
        "SELECT coin_id, currency_code, bucket, price FROM price_hourly"
        " JOIN series ON series.id = series_id ORDER BY bucket"
    )
    prices: dict[Key, dict[int, float]] = {}
    for coin, currency, bucket, price in rows:
        hour = (bucket - EPOCH) // timedelta(hours=1)
        prices.setdefault((coin, currency), {})[hour] = price
    hours = range(min(map(min, prices.values())), max(map(max, prices.values())) + 1)
    expected = AnomalyScenario(reader, EPOCH, prices)
    answer = (await reader.data(QUERY, threshold=2.0, window=12))["anomalies"]
    assert answer == expected.expected(hours, 2.0, 12)
    assert len(answer) > 5
