"""Fixtures: a real PostgreSQL, a simulated CoinGecko and a real server."""

import asyncio
import contextlib
import functools
import itertools
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import asyncpg
import coverage
import httpx
import hypothesis
import pytest

from models.postgres.database import Database
from models.postgres.migrate import migrate
from server.config.settings import Settings
from server.postgres import embedded
from server.postgres.embedded import EmbeddedPostgres
from simulator import Simulator, SimulatorOptions, run_simulator
from tests import hours
from tests.hours import pytest_runtest_protocol  # noqa: F401 - pytest finds it here
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

# The same examples in each run, so that only a change can turn a test red; `make fuzz` draws more.
# How fast they are drawn depends on what else the machine does.
_fixed = hypothesis.settings(
    derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("fixed", _fixed)
hypothesis.settings.register_profile(
    "drawn", _fixed, derandomize=False, max_examples=1000, print_blob=True
)
hypothesis.settings.load_profile("fixed")

_numbers = itertools.count(1)
# PostgreSQL for tests that are not about its durability: these databases live for a moment.
_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give endurance tests a longer timeout: one of them kills twenty servers."""
    for item in items:
        if item.get_closest_marker("endurance") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Isolate the tests from the developer's environment and `.env`."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture(autouse=True)
def _processes_are_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid processes in tests of the fast tier."""
    marked = {mark.name for mark in request.node.iter_markers()}
    if marked & {"processes", "endurance"}:
        return

    def refuse(_: object, command: object, **__: object) -> NoReturn:
        raise AssertionError(f"a test that starts {command} needs @pytest.mark.processes")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    monkeypatch.setattr(subprocess.Popen, "__del__", lambda _: None)


@pytest.fixture(scope="session", autouse=True)
def _contexts_once() -> Iterator[None]:
    """Load the certificates for TLS once: it takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        make = functools.cache(ssl.create_default_context)
        patch.setattr(ssl, "create_default_context", make)
        yield


@pytest.fixture(scope="session", autouse=True)
def _supervisors_measured() -> Iterator[None]:
    """Measure the coverage of the supervisor of the embedded PostgreSQL."""
    with pytest.MonkeyPatch.context() as patch:
        if "COVERAGE_PROCESS_CONFIG" in os.environ:
            packages = str(Path(coverage.__file__).parents[1])
            start = f"import sys; sys.path.append({packages!r}); import coverage"
            patch.setattr(embedded, "BOOT", f"{start}; coverage.process_startup(); {embedded.BOOT}")
            patch.setattr(embedded, "PASSED_ON", (*embedded.PASSED_ON, "COVERAGE_PROCESS_CONFIG"))
        yield


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL for test databases: TEST_DATABASE_URL, or an embedded one.

    Parallel workers have one each.
    """
    if outside := os.environ.get("TEST_DATABASE_URL"):
        yield outside
        return
    with pytest.MonkeyPatch.context() as patch:
        options = f"from server.postgres import programs; programs.OPTIONS.update({_FAST})"
        patch.setattr(embedded, "BOOT", embedded.BOOT.replace("; from", f"; {options}; from", 1))
        postgres = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
        url = postgres.start()
    yield url
    postgres.stop()


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a migrated database that others are copied from."""

    async def make(url: str) -> None:
        database = Database(url)
        await migrate(database)
        await database.close()

    with new_database(postgres_url) as url:
        asyncio.run(make(url))
        yield name_of(url)


@contextlib.contextmanager
def new_database(postgres_url: str, template: str = "template1") -> Iterator[str]:
    """Create a database for the block, from `template` or empty; yield its URL."""
    name = f"coingraph_test_{os.getpid()}_{next(_numbers)}"
    how = "" if "TEST_DATABASE_URL" in os.environ else "STRATEGY file_copy"  # fast without fsync
    asyncio.run(administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template} {how}"))
    try:
        yield url_of(postgres_url, name)
    finally:
        asyncio.run(administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database."""
    with new_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def refreshed(
    postgres_url: str, template: str, shared_simulator: Simulator
) -> Iterator[Callable[[], str]]:
    """The name of a database with a refresh of this hour that others are copied from.

    It has 2 coins, 2 currencies and 5 days.
    """
    made: dict[int, str] = {}
    with contextlib.ExitStack() as databases:

        def newest() -> str:
            this = hours.hour()
            if this not in made:
                url = databases.enter_context(new_database(postgres_url, template))
                with served_for_long(url, shared_simulator) as served:
                    _refresh(served)
                made[this] = name_of(url)
            return made[this]

        yield newest


@pytest.fixture
def database_url(request: pytest.FixtureRequest, postgres_url: str, template: str) -> Iterator[str]:
    """The URL of a migrated database: without rows, or with those of `refreshed` if requested."""
    if "refreshed" in request.fixturenames:
        template = request.getfixturevalue("refreshed")()
    with new_database(postgres_url, template) as url:
        yield url


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
    """A simulator for one test, for faults."""
    with run_simulator(SimulatorOptions()) as simulator:
        yield simulator


async def administer(postgres_url: str, statement: str) -> None:
    connection = await asyncpg.connect(url_of(postgres_url).replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def name_of(url: str) -> str:
    return str(Database(url).url.database)


def url_of(postgres_url: str, name: str | None = None) -> str:
    if name is None:
        return postgres_url
    url = Database(postgres_url).url.set(database=name)
    return url.render_as_string(hide_password=False)


@pytest.fixture
async def server(
    refreshed: object, database_url: str, shared_simulator: Simulator
) -> AsyncIterator[LiveServer]:
    """A server whose first refresh is done: 2 coins, 2 currencies, 5 days."""
    async with live_server(make_settings(database_url, shared_simulator)) as live:
        yield live


@pytest.fixture(scope="session")
def shared_url(
    postgres_url: str, template: str, shared_simulator: Simulator
) -> Iterator[tuple[str, str]]:
    """The URLs of one such server and its database, for all read-only tests."""
    with (
        new_database(postgres_url, template) as database_url,
        served_for_long(database_url, shared_simulator) as url,
    ):
        _refresh(url)
        yield url, database_url


def _refresh(url: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    query = "mutation { refreshPrices(input: {wait: true}) { run { status } } }"
    done = httpx.post(f"{url}/graphql", json={"query": query}, headers=headers, timeout=PATIENCE)
    assert done.json()["data"]["refreshPrices"]["run"]["status"] == "SUCCEEDED"


@contextlib.contextmanager
def served_for_long(database_url: str, simulator: Simulator) -> Iterator[str]:
    """Serve a database from a thread for several tests; yield the server's URL."""
    with pytest.MonkeyPatch.context() as patch:
        for setting in Settings.model_fields:
            patch.delenv(setting.upper(), raising=False)
        settings = make_settings(database_url, simulator)
    with in_thread(live_server(settings)) as live:
        yield live.url


@pytest.fixture
async def reader(shared_url: tuple[str, str]) -> AsyncIterator[Reader]:
    """A client of the shared server, and a separate connection to its database."""
    async with reading(*shared_url) as reader:
        yield reader


@pytest.fixture(scope="module")
def scheduled_server(postgres_url: str, shared_simulator: Simulator) -> Iterator[LiveServer]:
    """A server in a thread with its own database, for schedulers to call."""
    with (
        new_database(postgres_url) as url,
        in_thread(live_server(make_settings(url, shared_simulator))) as live,
    ):
        yield live


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the test's database without our code."""
    async with connected(database_url) as connection:
        yield connection


def shared_folder() -> Path | None:
    """The folder with recordings of the real CoinGecko, if present."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "coingecko"
    return folder if folder.is_dir() else None
