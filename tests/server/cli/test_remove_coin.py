"""`coingraph remove-coin` while a server runs."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlmodel import SQLModel

from models.postgres.advisory_lock import AdvisoryLock
from models.runs import REFRESH_LOCK
from simulator import Simulator
from tests.server.commands import one_line, run_concurrently
from tests.serving import TOKEN, LiveServer, live_server, make_settings

pytestmark = pytest.mark.processes
OF_SERIES = [t.name for t in SQLModel.metadata.sorted_tables if "series_id" in t.columns]
ASK = "{ prices(coin: $coin, first: 5) { points { price } } }".replace("$coin", '"ethereum"')
HOURS = "SELECT count(*) FROM price_hourly"
MINE = {"COINS": "bitcoin", "CURRENCIES": "usd,eur"}


@pytest.fixture
async def server(database_url: str, shared_simulator: Simulator) -> AsyncIterator[LiveServer]:
    """A server that tracks bitcoin; an earlier one loaded ethereum."""
    refresh = "mutation { refreshPrices(input: {wait: true}) { run { status } } }"
    async with live_server(make_settings(database_url, shared_simulator)) as before:
        await before.data(refresh, token=TOKEN)
    settings = make_settings(database_url, shared_simulator, coins="bitcoin")
    async with live_server(settings) as live:
        yield live


async def count(sql: asyncpg.Connection, coin: str) -> dict[str, int]:
    rows = {}
    for table in OF_SERIES:
        rows[table] = await sql.fetchval(
            f"SELECT count(*) FROM {table} JOIN series ON series.id = series_id "  # noqa: S608 - our tables
            "WHERE coin_id = $1",
            coin,
        )
    for table, column in (("series", "coin_id"), ("coin_metadata", "coin_id"), ("coin", "id")):
        query = f"SELECT count(*) FROM {table} WHERE {column} = $1"  # noqa: S608 - our tables
        rows[table] = await sql.fetchval(query, coin)
    return rows


async def test_a_removed_coin_leaves_the_database_and_the_caches(
    server: LiveServer, database_url: str, sql: asyncpg.Connection
) -> None:
    mine = {"DATABASE_URL": database_url, **MINE}
    data = await server.data("{ coins { nodes { id tracked } } }")
    assert [tuple(node.values()) for node in data["coins"]["nodes"]] == [
        ("bitcoin", True),
        ("ethereum", False),
    ]
    points = (await server.data(ASK))["prices"]["points"]
    for first in range(1, 4):  # until the whole series is held in memory
        await server.data(ASK.replace("first: 5", f"first: {first}"))
    assert len(points) == 5
    assert server.application.series_cache.size > 0
    kept, hours = await count(sql, "ethereum"), await sql.fetchval(HOURS)
    assert all(kept[name] for name in ("price_hourly", "price_daily", "price_latest", "series"))
    others = await count(sql, "bitcoin")

    shown = await run_concurrently(["remove-coin", "Ethereum", "--dry-run"], mine)
    assert shown.returncode == 0, shown.stderr.decode()
    for table, rows in kept.items():
        assert f"{table} {rows:,}" in " ".join(shown.stdout.decode().split())
    asked = await run_concurrently(["remove-coin", "ethereum"], mine)
    assert one_line(asked) == "Nothing was deleted. Say yes, or give --yes."
    assert await count(sql, "ethereum") == kept

    done = await run_concurrently(["remove-coin", "ethereum", "--yes"], mine)
    assert done.returncode == 0, done.stderr.decode()
    assert set((await count(sql, "ethereum")).values()) == {0}
    assert await count(sql, "bitcoin") == others
    left = await sql.fetchval(HOURS)
    assert left == hours - kept["price_hourly"], "nothing is left behind without its series"
    for ask in (ASK, ASK.replace("first: 5", "first: 2"), '{ coin(id: "ethereum") { id } }'):
        _, code, message = await server.error(ask)
        assert (code, "There is no coin 'ethereum'" in message) == ("NOT_FOUND", True)
    data = await server.data("{ coins { totalCount } latestPrices { coin } }")
    assert data["coins"] == {"totalCount": 1}
    assert {each["coin"] for each in data["latestPrices"]} == {"bitcoin"}
    again = await server.data(
        "mutation { refreshPrices(input: {wait: true}) { run { status } } }", token=TOKEN
    )
    assert again["refreshPrices"]["run"]["status"] == "SUCCEEDED"


@pytest.mark.endurance
async def test_rejected_values(
    server: LiveServer, database_url: str, sql: asyncpg.Connection
) -> None:
    kept = await count(sql, "ethereum")

    async def refused(coin: str, **settings: str) -> str:
        variables = {"DATABASE_URL": database_url, **MINE, **settings}
        return one_line(await run_concurrently(["remove-coin", coin, "--yes"], variables))

    assert "'bitcoin' is tracked: take it out of COINS" in await refused("bitcoin")
    for coin in ("nothing", "", "a\udcff", "x" * 5000):
        assert f"There is no coin {coin!a}" in await refused(coin)
    # a shell that knows nothing of the server's settings
    assert "A server with other COINS runs" in await refused("ethereum", COINS="tron")
    async with AdvisoryLock(server.application.database, REFRESH_LOCK) as lock:
        assert await lock.acquire()
        assert "A refresh is running" in await refused("ethereum")
    assert await count(sql, "ethereum") == kept
