"""Which coins and currencies a server tracks, and which are only stored."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from models import coins as coin_rows
from models.postgres.database import Database
from server.bootstrap import seeds
from simulator import Simulator
from tests.serving import Client, live_server, make_settings

KEPT = ["bitcoin", "ethereum", "solana", "tron"]


@pytest.fixture
async def client(
    database: Database, database_url: str, shared_simulator: Simulator
) -> AsyncIterator[Client]:
    """A server that tracks two of four coins and one of two currencies."""
    async with database.write() as session:
        await coin_rows.seed(session, seeds.coins(KEPT), seeds.currencies(["usd", "eur"]))
    settings = make_settings(
        database_url, shared_simulator, coins="tron,bitcoin", currencies="eur", refresh_tokens=""
    )
    async with live_server(settings) as live:
        yield live


async def listed(client: Client, **filters: Any) -> list[str]:
    query = """query ($filter: CoinFilter, $first: Int!, $after: String) {
        coins(filter: $filter, first: $first, after: $after) {
            totalCount pageInfo { hasNextPage endCursor } nodes { id } } }"""
    found: list[str] = []
    after = None
    while True:
        data = await client.data(query, filter=filters, first=1, after=after)
        page = data["coins"]
        found += [node["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            assert page["totalCount"] == len(found)
            return found
        after = page["pageInfo"]["endCursor"]


async def test_tracked(client: Client) -> None:
    data = await client.data(
        """{ coins { nodes { id tracked } edges { node { tracked } } }
             one: coin(id: "tron") { tracked } other: coin(id: "solana") { tracked }
             currencies { code tracked } }"""
    )
    expected = [True, False, False, True]
    assert [node["tracked"] for node in data["coins"]["nodes"]] == expected
    assert [edge["node"]["tracked"] for edge in data["coins"]["edges"]] == expected
    assert (data["one"]["tracked"], data["other"]["tracked"]) == (True, False)
    assert data["currencies"] == [
        {"code": "eur", "tracked": True},
        {"code": "usd", "tracked": False},
    ]
    assert await listed(client) == KEPT
    assert await listed(client, tracked=None) == KEPT
    assert await listed(client, tracked=True) == ["bitcoin", "tron"]
    assert await listed(client, tracked=False) == ["ethereum", "solana"]
    assert await listed(client, tracked=True, ids=["tron", "solana"]) == ["tron"]
    assert await listed(client, tracked=False, search="o") == ["solana"]
    assert await listed(client, tracked=True, ids=[]) == []


async def test_changed_settings_apply_at_once(
    client: Client, database_url: str, shared_simulator: Simulator
) -> None:
    """Each server uses its own settings; nothing of it is stored."""
    settings = make_settings(database_url, shared_simulator, coins="solana", currencies="usd,eur")
    async with live_server(settings) as other:
        assert await listed(other, tracked=True) == ["solana"]
    assert await listed(client, tracked=True) == ["bitcoin", "tron"]
