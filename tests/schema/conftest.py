"""A server with the sample series."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from models.postgres.database import Database
from simulator import Simulator
from tests.conftest import new_database, served_for_long
from tests.schema.sample_series import store_all
from tests.serving import Reader, reading


@pytest.fixture(scope="session")
def made_url(
    postgres_url: str, template: str, shared_simulator: Simulator
) -> Iterator[tuple[str, str]]:
    """The addresses of a server with the sample series and of its database."""
    with new_database(postgres_url, template) as database_url:
        asyncio.run(_fill(database_url))
        with served_for_long(database_url, shared_simulator) as url:
            yield url, database_url


async def _fill(database_url: str) -> None:
    database = Database(database_url)
    await store_all(database)
    await database.close()


@pytest.fixture
async def made(made_url: tuple[str, str]) -> AsyncIterator[Reader]:
    """A client of that server, and a connection to its database."""
    async with reading(*made_url) as reader:
        yield reader
