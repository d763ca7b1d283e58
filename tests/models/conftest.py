"""Two series without prices."""

import asyncpg
import pytest


@pytest.fixture
async def series(sql: asyncpg.Connection) -> int:
    """Name a series without prices."""
    await sql.execute("INSERT INTO coin (id, symbol, name) VALUES ('bitcoin', 'btc', 'Bitcoin')")
    await sql.execute("INSERT INTO currency (code, name, symbol) VALUES ('usd', 'Dollar', '$')")
    return await _add(sql, "bitcoin", "usd")


@pytest.fixture
async def other_series(sql: asyncpg.Connection, series: int) -> int:
    """Name another series without prices."""
    await sql.execute("INSERT INTO currency (code, name, symbol) VALUES ('eur', 'Euro', '€')")
    return await _add(sql, "bitcoin", "eur")


async def _add(sql: asyncpg.Connection, coin: str, currency: str) -> int:
    added: int = await sql.fetchval(
        "INSERT INTO series (coin_id, currency_code) VALUES ($1, $2) RETURNING id", coin, currency
    )
    return added
