"""Many series, writers in other processes, and a hub of price updates."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from models.postgres.database import Database
from resolvers.live.price_updates import PriceUpdates
from tests.following import hub_on
from tests.quoting import MANY, Pair, add_series


@pytest.fixture
async def ids(sql: asyncpg.Connection) -> dict[Pair, int]:
    return await add_series(sql, MANY)


@pytest.fixture
async def writers(database_url: str) -> AsyncIterator[list[Database]]:
    """Connections that act as three other processes."""
    writers = [Database(database_url) for _ in range(3)]
    yield writers
    for writer in writers:
        await writer.close()


@pytest.fixture
async def updates(database: Database) -> AsyncIterator[PriceUpdates]:
    async with hub_on(database) as updates:
        yield updates
