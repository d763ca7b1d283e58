"""Price updates as subscribers see them, on a real PostgreSQL."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from models.database import Database
from resolvers.updates import PriceUpdates
from tests.following import following, hub_on
from tests.schema.quoting import PAIRS, add_series, quote


@pytest.fixture
async def ids(sql: asyncpg.Connection) -> dict[tuple[str, str], int]:
    return await add_series(sql, PAIRS)


@pytest.fixture
async def updates(database: Database) -> AsyncIterator[PriceUpdates]:
    async with hub_on(database) as updates:
        yield updates


def prices(update: dict[str, Any]) -> dict[tuple[str, str], float]:
    return {(each["coin"], each["currency"]): each["price"] for each in update["prices"]}


async def test_what_is_and_then_what_changes(
    database: Database, updates: PriceUpdates, ids: dict[tuple[str, str], int]
) -> None:
    await quote(database, ids, {("bitcoin", "usd"): 1.0, ("ethereum", "eur"): 2.0})
    async with following(database, updates) as subscriber:
        first = await subscriber.next_of("SNAPSHOT")
        assert prices(first) == {("bitcoin", "usd"): 1.0, ("ethereum", "eur"): 2.0}
        await quote(database, ids, {("bitcoin", "eur"): 3.0})
        second = await subscriber.next_of("CHANGE")
        assert prices(second) == {("bitcoin", "eur"): 3.0}
        assert second["revision"] == first["revision"] + 1
