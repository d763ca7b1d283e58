"""Coins, currencies and series: seeding them, and what upstream says of a coin."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from models.coins import coins_wanting_metadata, save_profile, seed
from models.postgres.database import Database
from models.tables import Coin, Currency

NOTHING = dict.fromkeys(("description", "image_url", "website_url"))


def coin(coin_id: str) -> Coin:
    return Coin(id=coin_id, symbol=coin_id[:3], name=coin_id.title())


def currency(code: str) -> Currency:
    return Currency(code=code, name=code.upper(), symbol="¤")


async def plant(database: Database, coins: list[str], codes: list[str]) -> None:
    async with database.write() as session:
        await seed(session, [coin(each) for each in coins], [currency(each) for each in codes])


async def test_every_pair_gets_its_series_once(database: Database, sql: asyncpg.Connection) -> None:
    await plant(database, ["solana", "tron"], ["usd", "eur"])
    await plant(database, ["tron", "bitcoin"], ["usd", "eur", "gbp"])
    rows = await sql.fetch("SELECT id, coin_id, currency_code FROM series ORDER BY 1")
    pairs = {(row["coin_id"], row["currency_code"]) for row in rows}
    assert len(rows) == len(pairs) == 8
    assert [row["id"] for row in rows] == list(range(1, 9))
    assert await sql.fetchval("SELECT count(*) FROM coin") == 3


async def test_a_better_name_survives_the_next_start(
    database: Database, sql: asyncpg.Connection
) -> None:
    await plant(database, ["tron"], ["usd"])
    async with database.write() as session:
        await save_profile(session, "tron", symbol="trx", name="TRON", metadata=NOTHING)
    await plant(database, ["tron"], ["usd"])
    row = await sql.fetchrow("SELECT symbol, name FROM coin")
    assert row is not None
    assert tuple(row) == ("trx", "TRON")


async def test_processes_that_seed_at_once_do_not_wait_for_each_other(database: Database) -> None:
    names = [f"coin-{number}" for number in range(60)]
    codes = ["usd", "eur", "gbp", "jpy"]
    # a deadlock would be an error of one of them
    await asyncio.gather(
        *(
            plant(database, names[:: 1 if number % 2 else -1], codes[:: -1 if number % 3 else 1])
            for number in range(6)
        )
    )


@pytest.mark.slow
async def test_ten_thousand_coins_can_be_seeded(
    database: Database, sql: asyncpg.Connection
) -> None:
    await plant(database, [f"coin-{number}" for number in range(12_000)], ["usd", "eur", "gbp"])
    assert await sql.fetchval("SELECT count(*) FROM series") == 36_000


async def test_a_profile_is_stored_with_its_age(
    database: Database, sql: asyncpg.Connection
) -> None:
    await plant(database, ["tron", "solana"], ["usd"])
    metadata = {"description": "A coin.", "image_url": None, "website_url": "https://tron.network/"}
    async with database.write() as session:
        await save_profile(session, "tron", symbol="trx", name="TRON", metadata=metadata)
    row = await sql.fetchrow("SELECT * FROM coin_metadata")
    assert row is not None
    assert tuple(row)[:4] == ("tron", *metadata.values())
    assert datetime.now(UTC) - row["updated_at"] < timedelta(minutes=10)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    async with database.read() as session:
        assert await coins_wanting_metadata(
            session, ["tron", "solana", "nosuch"], older_than=hour_ago
        ) == ["solana"]
    await sql.execute("UPDATE coin_metadata SET updated_at = $1", hour_ago - timedelta(seconds=1))
    async with database.read() as session:
        wanting = await coins_wanting_metadata(session, ["tron"], older_than=hour_ago)
    assert wanting == ["tron"]


async def test_a_coin_is_touched_only_when_its_names_change(
    database: Database, sql: asyncpg.Connection
) -> None:
    query = "SELECT xmin::text || updated_at::text FROM coin"
    await plant(database, ["tron"], ["usd"])
    before = await sql.fetchval(query)
    for name, changes in (("Tron", False), ("TRON", True)):
        async with database.write() as session:
            await save_profile(session, "tron", symbol="tro", name=name, metadata=NOTHING)
        assert (await sql.fetchval(query) != before) is changes
