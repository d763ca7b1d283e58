"""Prices with a time in the future, from upstream to the API."""

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from simulator import Simulator
from tests.ingestion.scripted import ScriptedUpstream, scripted
from tests.serving import TOKEN, LiveServer, live_server, make_settings

REFRESH = """mutation { refreshPrices(input: {wait: true}) {
  run { status note items { note } }
} }"""
NEWEST = """{
  latestPrices(currencies: ["usd"]) { price ageSeconds observedAt revision }
  coins(filter: {ids: ["bitcoin"]}) { nodes { latest { price ageSeconds } } }
  seriesStatus(currencies: ["usd"]) { ageSeconds stale reason }
}"""


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted() as made:
        yield made


@pytest.fixture
async def live(
    database_url: str, shared_simulator: Simulator, upstream: ScriptedUpstream
) -> AsyncIterator[LiveServer]:
    settings = make_settings(
        database_url, shared_simulator, coingecko_base_url=upstream.url, coins="bitcoin"
    )
    async with live_server(settings) as live:
        yield live


def quoted(upstream: ScriptedUpstream, ahead: float) -> None:
    """Give upstream's quotes a time in the future."""
    upstream.spoil["price"] = lambda answer: {
        coin: {**quote, "usd": 666.0, "last_updated_at": int(time.time() + ahead)}
        for coin, quote in answer.items()
    }


async def newest(live: LiveServer) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the newest price and status of bitcoin/usd; check that no age is negative."""
    data = await live.data(NEWEST)
    [latest], [coin], [status] = (
        data["latestPrices"], data["coins"]["nodes"], data["seriesStatus"]
    )  # fmt: skip
    ages = [latest["ageSeconds"], coin["latest"]["ageSeconds"], status["ageSeconds"]]
    assert min(ages) >= 0
    assert latest["price"] == coin["latest"]["price"]
    return latest, status


@pytest.mark.slow
async def test_one_quote_from_the_future_freezes_nothing(
    live: LiveServer, upstream: ScriptedUpstream
) -> None:
    quoted(upstream, 72_000)
    run = (await live.data(REFRESH, token=TOKEN))["refreshPrices"]["run"]
    assert run["status"] == "SUCCEEDED"
    assert re.search(r"bitcoin/usd has a time (20:00:00|19:59:5\d) ahead", run["note"])
    latest, status = await newest(live)
    assert latest["price"] != 666.0, "the chart's newest"
    assert not status["stale"]
    upstream.spoil.clear()
    run = (await live.data(REFRESH, token=TOKEN))["refreshPrices"]["run"]
    assert run["note"] is None
    assert (await newest(live))[0]["price"] == 101.5


@pytest.mark.slow
async def test_clocks_that_differ_by_minutes_are_believed(
    live: LiveServer, upstream: ScriptedUpstream
) -> None:
    quoted(upstream, 240)
    await live.data(REFRESH, token=TOKEN)
    latest, status = await newest(live)
    assert (latest["price"], latest["ageSeconds"], status["ageSeconds"]) == (666.0, 0, 0)
    assert not status["stale"]


@pytest.mark.slow
async def test_future_prices_of_an_earlier_version_are_repaired(
    live: LiveServer, upstream: ScriptedUpstream, sql: asyncpg.Connection
) -> None:
    await live.data(REFRESH, token=TOKEN)
    await sql.execute(
        "UPDATE price_latest SET observed_at = now() + interval '20 hours', price = 666; "
        "UPDATE series SET revision = revision + 1"
    )
    status = (await live.data("{ seriesStatus { ageSeconds stale reason } }"))["seriesStatus"]
    assert {(each["ageSeconds"], each["stale"]) for each in status} == {(0, True)}
    assert all("a time in the future" in each["reason"] for each in status)
    await live.data(REFRESH, token=TOKEN)
    latest, healed = await newest(live)
    assert latest["price"] == 101.5
    assert (healed["stale"], healed["reason"]) == (False, None)
