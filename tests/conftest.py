"""A real PostgreSQL, a simulated CoinGecko and a real server, each over its real wire."""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from ingestion.simulator import Simulator, SimulatorOptions, run_simulator
from models.database import Database
from models.migrate import migrate
from server.embedded import EmbeddedPostgres
from server.settings import Settings
from tests.serving import (
    PATIENCE,
    TOKEN,
    LiveServer,
    Reader,
    connected,
    in_thread,
    live_server,
    make_settings,
    reading,
)

_numbers = itertools.count(1)
_HOUR, _TEST_SECONDS = 3600, 30


@pytest.fixture(autouse=True)
def _no_settings_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep the developer's own environment and `.env` out of the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture(autouse=True)
def _within_one_hour() -> None:
    """Begin no test just before an hour ends: what it compares would be of two hours.

    Tests about the change of hours and days have clocks of their own.
    """
    left = _HOUR - time.time() % _HOUR
    if left < _TEST_SECONDS:
        time.sleep(left)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a PostgreSQL to make databases in: TEST_DATABASE_URL, or an embedded one."""
    if outside := os.environ.get("TEST_DATABASE_URL"):
        yield outside
        return
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """Name a migrated database that others are copied from."""
    name = f"coingraph_template_{os.getpid()}"

    async def make() -> None:
        await administer(postgres_url, f"CREATE DATABASE {name}")
        database = Database(url_of(postgres_url, name))
        await migrate(database)
        await database.close()

    asyncio.run(make())
    return name


@contextlib.contextmanager
def new_database(postgres_url: str, template: str = "template1") -> Iterator[str]:
    """Make a database for the block, without `template` an empty one. For longer than a test."""
    name = f"coingraph_test_{os.getpid()}_{next(_numbers)}"
    asyncio.run(administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield url_of(postgres_url, name)
    asyncio.run(administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def empty_url(postgres_url: str) -> AsyncIterator[str]:
    """Address of a database with nothing in it."""
    name = f"coingraph_test_{os.getpid()}_{next(_numbers)}"
    await administer(postgres_url, f"CREATE DATABASE {name}")
    yield url_of(postgres_url, name)
    await administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """Address of a migrated database without rows."""
    name = f"coingraph_test_{os.getpid()}_{next(_numbers)}"
    await administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield url_of(postgres_url, name)
    await administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database without rows."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[Simulator]:
    """One simulator for all tests that set no faults."""
    with run_simulator(SimulatorOptions()) as simulator:
        yield simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A simulator of the test's own, for faults."""
    with run_simulator(SimulatorOptions()) as simulator:
        yield simulator


async def administer(postgres_url: str, statement: str) -> None:
    connection = await asyncpg.connect(url_of(postgres_url).replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def url_of(postgres_url: str, name: str | None = None) -> str:
    if name is None:
        return postgres_url
    url = Database(postgres_url).url.set(database=name)
    return url.render_as_string(hide_password=False)


@pytest.fixture
async def server(database_url: str, shared_simulator: Simulator) -> AsyncIterator[LiveServer]:
    """A server whose first refresh is done: 2 coins, 2 currencies, 5 days."""
    async with live_server(make_settings(database_url, shared_simulator)) as live:
        await live.data(
            "mutation { refreshPrices(input: {wait: true}) { run { status } } }", token=TOKEN
        )
        await live.application.refresher.interrupt()  # which may tidy up after its end
        yield live


@pytest.fixture(scope="session")
def shared_url(
    postgres_url: str, template: str, shared_simulator: Simulator
) -> Iterator[tuple[str, str]]:
    """Addresses of one such server and of its database, for all tests that only read."""
    with (
        new_database(postgres_url, template) as database_url,
        served_for_long(database_url, shared_simulator) as url,
    ):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        query = "mutation { refreshPrices(input: {wait: true}) { run { status } } }"
        httpx.post(f"{url}/graphql", json={"query": query}, headers=headers, timeout=PATIENCE)
        yield url, database_url


@contextlib.contextmanager
def served_for_long(database_url: str, simulator: Simulator) -> Iterator[str]:
    """Serve a database from a thread, for longer than a test; the server's address."""
    with pytest.MonkeyPatch.context() as patch:
        for setting in Settings.model_fields:
            patch.delenv(setting.upper(), raising=False)
        settings = make_settings(database_url, simulator)
    with in_thread(live_server(settings)) as live:
        yield live.url


@pytest.fixture
async def reader(shared_url: tuple[str, str]) -> AsyncIterator[Reader]:
    """A client of the shared server, and a connection of its own to that server's database."""
    async with reading(*shared_url) as reader:
        yield reader


@pytest.fixture(scope="module")
def scheduled_server(postgres_url: str, shared_simulator: Simulator) -> Iterator[LiveServer]:
    """A server with a database of its own, served from a thread, that schedulers may call."""
    with (
        new_database(postgres_url) as url,
        in_thread(live_server(make_settings(url, shared_simulator))) as live,
    ):
        yield live


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the test's database, past all of our code."""
    async with connected(database_url) as connection:
        yield connection


def shared_folder() -> Path | None:
    """Where recordings of the real CoinGecko are, for those who have them."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "coingecko"
    return folder if folder.is_dir() else None
