"""Series, and quotes of them, each newer than the one before."""

import itertools
from collections.abc import Iterable, Mapping
from datetime import timedelta

import asyncpg

from models.postgres.database import Database
from models.prices.write_latest import NewestPrice, store_quotes
from tests.models.storing import NOON

Pair = tuple[str, str]
PAIRS = [(coin, currency) for coin in ("bitcoin", "ethereum") for currency in ("eur", "usd")]
MANY = [(f"coin-{number}", code) for number in range(10) for code in ("eur", "gbp", "jpy", "usd")]
MANY = [(f"coin-{number}", code) for number in range(10) for code in ("eur", "gbp", "jpy", "usd")]
_moments = itertools.count()


async def add_series(sql: asyncpg.Connection, pairs: Iterable[Pair]) -> dict[Pair, int]:
    """Track coins in currencies; the ids of their series."""
    ids = {}
    for coin, currency in pairs:
        await sql.execute("INSERT INTO coin VALUES ($1, $1, $1) ON CONFLICT DO NOTHING", coin)
        await sql.execute(
            "INSERT INTO currency VALUES ($1, $1, $1) ON CONFLICT DO NOTHING", currency
        )
        ids[coin, currency] = await sql.fetchval(
            "INSERT INTO series (coin_id, currency_code) VALUES ($1, $2) RETURNING id",
            coin,
            currency,
        )
    return ids


async def quote(
    database: Database,
    ids: Mapping[Pair, int],
    prices: Mapping[Pair, float],
    *,
    in_order: bool = True,
) -> None:
    """Commit new prices, all of them in one transaction.

    Unless `in_order`, others write at the same time, and what was observed before loses.
    """
    now = NOON + timedelta(seconds=next(_moments))
    newest = [NewestPrice(ids[pair], now, price, None, None) for pair, price in prices.items()]
    async with database.write() as session:
        changed = await store_quotes(session, newest)
    assert changed == len(prices) or not in_order
