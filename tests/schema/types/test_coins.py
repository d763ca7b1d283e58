"""Coins: filters, pages and nested fields."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from simulator import Simulator
from tests.serving import Client, Reader, live_server, make_settings

COINS = """
    query Coins($filter: CoinFilter, $first: Int! = 50, $after: String) {
      coins(filter: $filter, first: $first, after: $after) {
        totalCount nodes { id } edges { cursor node { id } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
    }
"""
# In the order of ids as PostgreSQL sorts them; names that a careless search stumbles over.
ODD = [
    ("100-percent", "100%", "100% Coin"),
    ("back\\slash", "b\\s", "Back\\slash"),
    ("bitcoin-cash", "bch", "Bitcoin Cash"),
    ("snake_case", "s_c", "Snake_Case"),
    ("umlaut", "ÖRE", "Öre Größe"),
    ("wrapped-bitcoin", "btc", "Wrapped Bitcoin"),
    ("zoo/bar", "z/b", "Zoo/Bar"),
]


@pytest.fixture
async def listed(
    database_url: str, sql: asyncpg.Connection, shared_simulator: Simulator
) -> AsyncIterator[Client]:
    """A server with additional coins."""
    await sql.executemany("INSERT INTO coin (id, symbol, name) VALUES ($1, $2, $3)", ODD)
    async with live_server(make_settings(database_url, shared_simulator)) as live:
        yield live


async def ids(client: Client, **variables: Any) -> list[str]:
    answer = (await client.data(COINS, **variables))["coins"]
    found = [node["id"] for node in answer["nodes"]]
    assert [edge["node"]["id"] for edge in answer["edges"]] == found
    if "after" not in variables:
        assert answer["totalCount"] == len(found)
    return found


async def walk(client: Client, first: int, **variables: Any) -> list[str]:
    """Follow the pages to the end."""
    seen: list[str] = []
    after = None
    for number in range(100):
        page = (await client.data(COINS, first=first, after=after, **variables))["coins"]
        info, cursors = page["pageInfo"], [edge["cursor"] for edge in page["edges"]]
        assert len(cursors) <= first
        assert (info["startCursor"], info["endCursor"]) == (cursors[0], cursors[-1])
        assert info["hasPreviousPage"] == (number > 0)
        seen += [node["id"] for node in page["nodes"]]
        if not info["hasNextPage"]:
            return seen
        after = info["endCursor"]
    raise AssertionError("the pages do not end")


@pytest.mark.slow
async def test_filters(listed: Client) -> None:
    everything = await ids(listed)
    assert len(everything) == len(ODD) + 2
    for wanted, expected in (
        ({}, everything),
        ({"ids": ["ethereum", "BITCOIN", " umlaut ", "nope", "bitcoin"]}, 3),
        ({"ids": []}, []),
        ({"ids": None, "symbols": None, "search": None}, everything),
        ({"symbols": ["BTC"]}, ["bitcoin", "wrapped-bitcoin"]),
        ({"symbols": ["öre"]}, ["umlaut"]),
        ({"symbols": ["btc"], "ids": ["bitcoin"]}, ["bitcoin"]),
        ({"symbols": ["b%"]}, []),
        ({"search": "WRAPPED"}, ["wrapped-bitcoin"]),
        ({"search": "bitcoin"}, ["bitcoin", "bitcoin-cash", "wrapped-bitcoin"]),
        ({"search": "bitcoin", "symbols": ["bch"]}, ["bitcoin-cash"]),
        ({"search": "BTC"}, ["bitcoin", "wrapped-bitcoin"]),
        ({"search": "bch"}, ["bitcoin-cash"]),
        ({"search": "%"}, ["100-percent"]),
        ({"search": "_"}, ["snake_case"]),
        ({"search": "\\"}, ["back\\slash"]),
        ({"search": "\\s"}, ["back\\slash"]),
        ({"search": "/"}, ["zoo/bar"]),
        ({"search": "größe"}, ["umlaut"]),
        ({"search": "'; DROP TABLE coin; --"}, []),
        ({"search": "😀"}, []),
        ({"search": "\u0000"}, []),
        ({"search": "bit\u0000coin"}, []),
        ({"ids": ["bit\u0000coin"]}, []),
        ({"search": "x" * 10_000}, []),
        ({"search": f"{'':500}bitcoin{'':500}", "ids": ["bitcoin"]}, ["bitcoin"]),
        ({"symbols": ["btc" * 1_000, "bch"]}, ["bitcoin-cash"]),
        ({"ids": ["x" * 201, "bitcoin"]}, ["bitcoin"]),
        ({"search": ""}, everything),
        ({"search": "  "}, everything),
    ):
        found = await ids(listed, filter=wanted)
        if isinstance(expected, int):
            assert found == ["bitcoin", "ethereum", "umlaut"]
        else:
            assert found == expected, wanted


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 2, 3, 9, 500])
async def test_pages_make_up_the_list(listed: Client, sql: asyncpg.Connection, first: int) -> None:
    rows = await sql.fetch("SELECT id FROM coin ORDER BY id")
    assert await walk(listed, first) == [row["id"] for row in rows]
    like = await sql.fetch("SELECT id FROM coin WHERE name ILIKE '%bitcoin%' ORDER BY id")
    filtered = await walk(listed, min(first, 2), filter={"search": "bitcoin"})
    assert filtered == [row["id"] for row in like]


async def test_pages_stay_while_coins_come_and_go(listed: Client, sql: asyncpg.Connection) -> None:
    page = (await listed.data(COINS, first=3))["coins"]
    last = page["nodes"][-1]["id"]
    await sql.execute("INSERT INTO coin (id, symbol, name) VALUES ('aaa', 'aaa', 'Aaa')")
    await sql.execute("DELETE FROM coin WHERE id = '100-percent'")
    following = await ids(listed, after=page["pageInfo"]["endCursor"])
    rows = await sql.fetch("SELECT id FROM coin WHERE id > $1 ORDER BY id", last)
    assert following == [row["id"] for row in rows]


async def test_an_empty_page(reader: Reader) -> None:
    page = (await reader.data(COINS, filter={"search": "nothing like it"}))["coins"]
    assert page == {
        "totalCount": 0,
        "nodes": [],
        "edges": [],
        "pageInfo": {
            "hasNextPage": False,
            "hasPreviousPage": False,
            "startCursor": None,
            "endCursor": None,
        },
    }


async def test_one_coin(reader: Reader) -> None:
    coin = (
        await reader.data(
            """{ coin(id: " Bitcoin ") { id symbol name createdAt updatedAt
            metadata { description imageUrl websiteUrl updatedAt } } }"""
        )
    )["coin"]
    row = await reader.sql.fetchrow(
        "SELECT * FROM coin JOIN coin_metadata ON coin_id = id WHERE id = 'bitcoin'"
    )
    assert row is not None
    assert (coin["id"], coin["symbol"], coin["name"]) == ("bitcoin", row["symbol"], row["name"])
    assert coin["createdAt"].endswith("Z")
    meta = coin["metadata"]
    assert meta["description"] == row["description"]
    assert meta["imageUrl"] == row["image_url"]
    assert meta["websiteUrl"] == row["website_url"]


async def test_currencies(reader: Reader) -> None:
    assert (await reader.data("{ currencies { code name symbol } }"))["currencies"] == [
        {"code": "eur", "name": "Euro", "symbol": "€"},
        {"code": "usd", "name": "US Dollar", "symbol": "$"},
    ]


async def test_nested_fields_of_coins(reader: Reader) -> None:
    """The same values as at the root, for each coin, under any alias."""
    answer = await reader.data(
        """{ coins { nodes { id
          usd: latest { coin currency price }
          eur: latest(currency: "EUR") { coin currency price }
          days: prices(granularity: DAY) { coin currency points { timestamp price } }
          old: prices(currency: "eur", first: 2) { coin currency next points { price } }
          new: prices(currency: "eur", first: 2, order: DESC) { points { price } }
        } } }"""
    )
    nodes = {node["id"]: node for node in answer["coins"]["nodes"]}
    assert list(nodes) == ["bitcoin", "ethereum"]
    latest = await reader.data("{ latestPrices { coin currency price } }")
    by_key = {(one["coin"], one["currency"]): one for one in latest["latestPrices"]}
    for coin, node in nodes.items():
        assert (node["usd"], node["eur"]) == (by_key[coin, "usd"], by_key[coin, "eur"])
        alone = await reader.data(
            """query ($coin: ID!) {
              days: prices(coin: $coin, granularity: DAY) {
                coin currency points { timestamp price } }
              old: prices(coin: $coin, currency: "eur", first: 2) {
                coin currency next points { price } }
              new: prices(coin: $coin, currency: "eur", first: 2, order: DESC) { points { price } }
            }""",
            coin=coin,
        )
        assert {name: node[name] for name in alone} == alone
        assert node["old"]["points"] != node["new"]["points"]


async def test_a_coin_without_prices_and_metadata(listed: Client, sql: asyncpg.Connection) -> None:
    """A coin with a series but no price and no metadata yet."""
    await sql.execute("INSERT INTO series (coin_id, currency_code) VALUES ('umlaut', 'usd')")
    answer = await listed.data(
        """{ coin(id: "umlaut") { metadata { imageUrl } latest { price }
        prices { next revision points { price } } }
        latestPrices(coins: ["umlaut"]) { price }
        seriesStatus(coins: ["umlaut"]) { stale reason observedAt ageSeconds firstBucket } }"""
    )
    assert answer == {
        "coin": {
            "metadata": None,
            "latest": None,
            "prices": {"next": None, "revision": 0, "points": []},
        },
        "latestPrices": [],
        "seriesStatus": [
            {
                "stale": True,
                "reason": "This series is no longer tracked: 'umlaut' is not in COINS, so no "
                "refresh asks for it.",
                "observedAt": None,
                "ageSeconds": None,
                "firstBucket": None,
            }
        ],
    }
