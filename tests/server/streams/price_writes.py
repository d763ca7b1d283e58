"""Writes newer prices into the database of a server under test."""

import itertools
from datetime import UTC, datetime, timedelta

import asyncpg

from models.postgres.database import Database
from models.prices.write_latest import NewestPrice, store_quotes

_seconds = itertools.count(1)


async def move(
    database: Database, sql: asyncpg.Connection, *, coin: str, currency: str, price: float
) -> None:
    """Commit a newer price, like another process."""
    series_id = await sql.fetchval(
        "SELECT id FROM series WHERE coin_id = $1 AND currency_code = $2", coin, currency
    )
    now = datetime.now(UTC) + timedelta(seconds=next(_seconds))
    async with database.write() as session:
        assert await store_quotes(session, [NewestPrice(series_id, now, price, None, None)]) == 1
