"""A real PostgreSQL, a simulated CoinGecko and a real server, each over its real wire."""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import uvicorn

from ingestion.simulator import Simulator, SimulatorOptions, run_simulator
from models.database import Database
from models.migrate import migrate
from server.app import Application, create_app
from server.embedded import EmbeddedPostgres
from server.settings import Settings

TOKEN = "test-refresh-token"  # noqa: S105 - of the tests' own servers
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep the developer's own environment and `.env` out of the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


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
        await _administer(postgres_url, f"CREATE DATABASE {name}")
        database = Database(_url_of(postgres_url, name))
        await migrate(database)
        await database.close()

    asyncio.run(make())
    return name


@pytest.fixture
async def empty_url(postgres_url: str) -> AsyncIterator[str]:
    """Address of a database with nothing in it."""
    name = f"coingraph_test_{os.getpid()}_{next(_numbers)}"
    await _administer(postgres_url, f"CREATE DATABASE {name}")
    yield _url_of(postgres_url, name)
    await _administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """Address of a migrated database without rows."""
    name = f"coingraph_test_{os.getpid()}_{next(_numbers)}"
    await _administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _url_of(postgres_url, name)
    await _administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


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


async def _administer(postgres_url: str, statement: str) -> None:
    connection = await asyncpg.connect(_url_of(postgres_url).replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _url_of(postgres_url: str, name: str | None = None) -> str:
    if name is None:
        return postgres_url
    url = Database(postgres_url).url.set(database=name)
    return url.render_as_string(hide_password=False)


@dataclass(frozen=True, slots=True)
class LiveServer:
    """A server on a real port, and a client for it."""

    url: str
    http: httpx.AsyncClient
    application: Application

    async def post(
        self, query: str, *, token: str | None = None, **variables: Any
    ) -> httpx.Response:
        """Send an operation as a client does."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = {"query": query, "variables": variables}
        return await self.http.post("/graphql", json=body, headers=headers)

    async def data(self, query: str, *, token: str | None = None, **variables: Any) -> Any:
        """Send an operation that must succeed; its data."""
        response = await self.post(query, token=token, **variables)
        body = response.json()
        assert "errors" not in body, body
        assert response.status_code == 200
        return body["data"]

    async def error(
        self, query: str, *, token: str | None = None, **variables: Any
    ) -> tuple[int, str, str]:
        """Send an operation that must fail; HTTP status, first code, first message."""
        response = await self.post(query, token=token, **variables)
        first = response.json()["errors"][0]
        return response.status_code, first["extensions"]["code"], first["message"]


@contextlib.asynccontextmanager
async def live_server(settings: Settings) -> AsyncIterator[LiveServer]:
    """Serve the application on a free port while the block runs."""
    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
        if task.done():
            task.result()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            yield LiveServer(url, http, app.state.application)
    finally:
        server.should_exit = True
        await task
        listener.close()


def make_settings(database_url: str, simulator: Simulator, **more: Any) -> Settings:
    """Settings of a server under test: few coins, little history, no waiting."""
    values: dict[str, Any] = {
        "database_url": database_url,
        "coingecko_base_url": simulator.base_url,
        "coingecko_requests_per_minute": 600_000,
        "refresh_tokens": TOKEN,
        "coins": "bitcoin,ethereum",
        "currencies": "usd,eur",
        "history_days": 5,
    }
    return Settings(_env_file=None, **{**values, **more})


@pytest.fixture
async def server(database_url: str, shared_simulator: Simulator) -> AsyncIterator[LiveServer]:
    """A server whose first refresh is done: 2 coins, 2 currencies, 5 days."""
    async with live_server(make_settings(database_url, shared_simulator)) as live:
        await live.data(
            "mutation { refreshPrices(input: {wait: true}) { run { status } } }", token=TOKEN
        )
        yield live


def shared_folder() -> Path | None:
    """Where recordings of the real CoinGecko are, for those who have them."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "coingecko"
    return folder if folder.is_dir() else None
