"""The search of coins: best matches first, any case of any alphabet, in pages."""

# ruff: noqa: RUF001 - letters that look like others are what this is about

import base64
from collections.abc import AsyncIterator

import asyncpg
import pytest

from simulator import Simulator
from tests.schema.refusals import LEAKS
from tests.schema.types.test_coins import COINS, ids, walk
from tests.serving import Client, live_server, make_settings

# id, symbol, name; bitcoin and ethereum are there too
NAMED = [
    ("a-bit", "abt", "A Bit"),
    ("bit", "bbb", "Bitto"),
    ("bitcoin-cash", "bch", "Bitcoin Cash"),
    ("eth-classic", "etc", "Ether Classic"),
    ("habit", "hab", "Habit Token"),
    ("kyrillic", "ТОК", "Токен Правды"),
    ("other", "bit", "Other"),
    ("percent", "100%", "A_B"),
    ("plain", "1000", "AxB"),
    ("sigma", "ΣΙΓ", "Όδος Κόσμος"),
    ("smallbit", "zzz", "BIT"),
    ("token-b", "btk", "Token B"),
    ("wrapped", "Btc", "Wrapped"),
    ("中文", "中", "比特币"),
]


@pytest.fixture
async def named(
    database_url: str, sql: asyncpg.Connection, shared_simulator: Simulator
) -> AsyncIterator[Client]:
    await sql.executemany("INSERT INTO coin (id, symbol, name) VALUES ($1, $2, $3)", NAMED)
    async with live_server(make_settings(database_url, shared_simulator)) as live:
        yield live


# The ticker itself; the id or name itself; the beginning of any; a part of any; then by id.
FOUND = {
    "bit": ["other", "bit", "smallbit", "bitcoin", "bitcoin-cash", "a-bit", "habit"],
    "btc": ["bitcoin", "wrapped"],
    "eth": ["ethereum", "eth-classic"],
    "token": ["token-b", "habit"],
    "tok": ["token-b", "habit"],
    "токен": ["kyrillic"],
    "тОк": ["kyrillic"],
    "правд": ["kyrillic"],
    "όδος": ["sigma"],
    "ΚΌΣΜΟΣ": ["sigma"],
    "κόσμος": ["sigma"],
    "比特": ["中文"],
    "中": ["中文"],
    "100%": ["percent"],
    "0%": ["percent"],
    "a_b": ["percent"],
    "%": ["percent"],
    "_": ["percent"],
}


@pytest.mark.slow
@pytest.mark.parametrize("search", FOUND)
async def test_the_best_matches_come_first(named: Client, search: str) -> None:
    for spelt in (search, search.upper(), f"  {search} "):
        assert await ids(named, filter={"search": spelt}) == FOUND[search], spelt
    for first in (1, 2, 3):
        assert await walk(named, first, filter={"search": search}) == FOUND[search]


async def test_a_ticker_that_coins_share_gives_them_all(named: Client) -> None:
    for symbols, found in (
        (["BTC"], ["bitcoin", "wrapped"]),
        (["btc", "Eth", "none"], ["bitcoin", "ethereum", "wrapped"]),
        (["ток", "σΙγ", "中"], ["kyrillic", "sigma", "中文"]),
        (["bt"], []),
    ):
        assert await ids(named, filter={"symbols": symbols}) == found
    both = {"symbols": ["BTC"], "search": "wrap"}
    assert await ids(named, filter=both) == ["wrapped"]


async def test_pages_of_a_search_stay_while_coins_come_and_go(
    named: Client, sql: asyncpg.Connection
) -> None:
    page = (await named.data(COINS, first=3, filter={"search": "bit"}))["coins"]
    assert [node["id"] for node in page["nodes"]] == FOUND["bit"][:3]
    await sql.execute("DELETE FROM coin WHERE id IN ('smallbit', 'other')")
    await sql.execute(
        "INSERT INTO coin (id, symbol, name) VALUES ('zbit', 'bit', 'Z'), ('bitten', 'q', 'Q')"
    )
    after = page["pageInfo"]["endCursor"]
    following = await ids(named, filter={"search": "bit"}, after=after)
    assert following == ["bitcoin", "bitcoin-cash", "bitten", "a-bit", "habit"]


async def test_cursors_of_other_lists_are_rejected(named: Client) -> None:
    plain = (await named.data(COINS, first=1))["coins"]["pageInfo"]["endCursor"]
    search = {"search": "bit"}
    ranked = (await named.data(COINS, first=1, filter=search))["coins"]["pageInfo"]["endCursor"]

    def made(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    for after, wanted in (
        (plain, search),
        (ranked, None),
        *(
            (made(f"match:{key}"), search)
            for key in ("4:a", "-1:a", "٣:a", "0:", ":a", "a", "00:a")
        ),
        (made("coin:bitcoin"), None),
        (made("match:0:\x00"), search),
    ):
        response = await named.post(COINS, after=after, filter=wanted)
        error = response.json()["errors"][0]
        assert (response.status_code, error["extensions"]["code"]) == (400, "BAD_USER_INPUT")
        assert "not a cursor of this list" in error["message"]
        assert not any(leak in response.text for leak in LEAKS)
