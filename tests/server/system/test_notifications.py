"""Servers that share a database, lose it, and never serve stale data."""

import asyncio
import subprocess
import sys

import asyncpg
import pytest

from models.postgres.database import Database
from models.postgres.notifications import APPLICATION_NAME, CHANNEL
from simulator import Simulator
from tests.server.cache_probes import (
    CURRENCIES,
    LATEST,
    is_true,
    quote,
    said,
    until,
    wait_for_listener,
)
from tests.server.proxy import proxy_to
from tests.server.server_process import environment
from tests.serving import LiveServer, live_server, make_settings

POINTS = '{ prices(coin: "bitcoin", to: "2100-01-01", first: 9) { points { price observedAt } } }'


async def test_writes_of_another_server(
    server: LiveServer, database_url: str, shared_simulator: Simulator
) -> None:
    async with live_server(make_settings(database_url, shared_simulator)) as other:
        for one in (server, other):
            await wait_for_listener(one)
            assert [said(await one.post(LATEST)) for _ in range(2)] == ["MISS", "HIT"]
        for price in (3.5, 4.5):
            await quote(server.application.database, price)
            for one in (server, other):
                await one.application.listener.catch_up()
                answer = await one.post(LATEST)
                assert said(answer) == "MISS"
                assert answer.json()["data"]["latestPrices"][0]["price"] == price
                assert said(await one.post(LATEST)) == "HIT"


@pytest.mark.processes
async def test_writes_of_another_process(
    server: LiveServer, database_url: str, shared_simulator: Simulator, sql: asyncpg.Connection
) -> None:
    await wait_for_listener(server)
    await sql.execute("UPDATE price_hourly SET price = -1")
    await sql.execute("SELECT pg_notify($1, '')", CHANNEL)  # by hand, as the handbook says
    await server.application.listener.catch_up()
    before = await server.data(POINTS)
    assert {point["price"] for point in before["prices"]["points"]} == {-1}
    assert said(await server.post(POINTS)) == "HIT"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from server.cli.main import main; main()", "refresh", "--rebuild",
        env=environment({
            "DATABASE_URL": database_url,
            "COINGECKO_BASE_URL": str(shared_simulator.base_url),
            "COINGECKO_REQUESTS_PER_MINUTE": "600000",
            "COINS": "bitcoin,ethereum",
            "CURRENCIES": "usd,eur",
            "HISTORY_DAYS": "5",
        }),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0
    await server.application.listener.catch_up()
    after = await server.post(POINTS)
    assert said(after) == "MISS"
    assert min(point["price"] for point in after.json()["data"]["prices"]["points"]) > 0


async def test_a_listener_that_is_terminated(
    server: LiveServer, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While notifications may be missed, the cache is neither filled nor read."""
    await wait_for_listener(server)
    application, connect = server.application, Database.connect
    assert [said(await server.post(LATEST)) for _ in range(2)] == ["MISS", "HIT"]
    may_connect = asyncio.Event()

    async def connect_later(database: Database, name: str) -> asyncpg.Connection:
        if name == APPLICATION_NAME:
            await may_connect.wait()
        return await connect(database, name)

    monkeypatch.setattr(Database, "connect", connect_later)
    await sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = $1",
        APPLICATION_NAME,
    )
    await until(is_true(lambda: not application.listener.listening))
    assert len(application.cache) == 0
    for price in (6.5, 7.5):
        await quote(application.database, price)
        for _ in range(2):
            answer = await server.post(LATEST)
            assert said(answer) == "BYPASS"
            assert answer.json()["data"]["latestPrices"][0]["price"] == price
            assert answer.headers["cache-control"].startswith("public")
    assert len(application.cache) == 0
    may_connect.set()
    await wait_for_listener(server)
    assert [said(await server.post(LATEST)) for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.slow
async def test_a_database_that_stops_and_returns(
    server: LiveServer, database_url: str, shared_simulator: Simulator
) -> None:
    async with (
        proxy_to(database_url) as proxy,
        live_server(make_settings(proxy.url, shared_simulator)) as far,
    ):
        await wait_for_listener(far)
        for price in (8.5, 9.5):
            assert [said(await far.post(LATEST)) for _ in range(2)] == ["MISS", "HIT"]
            await far.post(CURRENCIES)
            await proxy.cut()
            await until(is_true(lambda: not far.application.listener.listening))
            for query in (LATEST, CURRENCIES):
                answer = await far.post(query)
                assert answer.status_code == 503
                assert answer.headers["cache-control"] == "no-store"
                assert answer.headers["x-cache"] == "BYPASS"
            await quote(server.application.database, price)
            await proxy.restore()
            await wait_for_listener(far)
            answer = await far.post(LATEST)
            assert answer.json()["data"]["latestPrices"][0]["price"] == price
            await far.post(LATEST)
            await quote(server.application.database, price + 0.25)
            await wait_for_listener(far)
