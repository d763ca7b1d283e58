"""A server of the made series."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from ingestion.simulator import Simulator
from models.database import Database
from server.settings import Settings
from tests.conftest import administer, url_of
from tests.schema.made import store_all
from tests.serving import PATIENCE, Reader, connected, in_thread, live_server, make_settings


@pytest.fixture(scope="session")
def made_url(
    postgres_url: str, template: str, shared_simulator: Simulator
) -> Iterator[tuple[str, str]]:
    """Addresses of a server of the made series and of its database."""
    name = f"coingraph_made_{os.getpid()}"
    asyncio.run(administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}"))
    database_url = url_of(postgres_url, name)

    async def fill() -> None:
        database = Database(database_url)
        await store_all(database)
        await database.close()

    asyncio.run(fill())
    with pytest.MonkeyPatch.context() as patch:
        for setting in Settings.model_fields:
            patch.delenv(setting.upper(), raising=False)
        settings = make_settings(database_url, shared_simulator)
    with in_thread(live_server(settings)) as live:
        yield live.url, database_url
    asyncio.run(administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def made(made_url: tuple[str, str]) -> AsyncIterator[Reader]:
    """A client of that server, and a connection to its database."""
    url, database_url = made_url
    async with (
        httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http,
        connected(database_url) as sql,
    ):
        yield Reader(url, http, sql)
