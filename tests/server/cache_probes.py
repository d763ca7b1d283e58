"""A server whose cache receives notifications, and the X-Cache header of its responses."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import httpx

from models.postgres.database import Database
from models.prices.write_latest import NewestPrice, store_quotes
from tests.serving import LiveServer

LATEST = '{ latestPrices(coins: ["bitcoin"], currencies: ["usd"]) { price revision } }'
CURRENCIES = "{ currencies { code } }"


def said(response: httpx.Response) -> str:
    """Return the header X-Cache."""
    assert response.status_code in {200, 304}, response.text
    return response.headers["x-cache"]


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < end, "it does not come about"
        await asyncio.sleep(0.005)


def is_true(check: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    """Wrap a condition for `until`."""

    async def look() -> bool:
        return check()

    return look


async def wait_for_listener(server: LiveServer) -> LiveServer:
    """Wait until the server listens and has processed all notifications so far."""
    listener = server.application.listener
    await until(is_true(lambda: listener.listening))
    await listener.catch_up()
    return server


async def series_id(database: Database, coin: str = "bitcoin", currency: str = "usd") -> int:
    connection = await database.connect("test")
    try:
        found: int = await connection.fetchval(
            "SELECT id FROM series WHERE (coin_id, currency_code) = ($1, $2)", coin, currency
        )
    finally:
        await connection.close()
    return found


async def quote(database: Database, price: float, currency: str = "usd") -> None:
    """Store a newer price of bitcoin, as a refresh does."""
    newest = NewestPrice(
        await series_id(database, currency=currency), datetime.now(UTC), price, None, None
    )
    async with database.write() as session:
        assert await store_quotes(session, [newest]) == 1
