"""Upstreams whose time stands still, and deployments of processes that refresh from them."""

import ssl
import time
from collections.abc import AsyncIterator, Iterator

import asyncpg
import httpx
import pytest
import stamina

from ingestion.coingecko import circuit_breaker
from simulator import Simulator, SimulatorOptions, run_simulator
from tests.ingestion.running import Deployment
from tests.ingestion.upstream import Clock


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let retries follow at once; how many there are is up to the client."""
    monkeypatch.setattr(circuit_breaker, "_FIRST_PAUSE", 0.0)
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """One simulator for a module: a test that breaks it repairs it."""
    with run_simulator() as running:
        yield running


@pytest.fixture(scope="session")
def clock() -> Clock:
    return Clock(time.time)


@pytest.fixture(scope="session")
def frozen(clock: Clock) -> Iterator[Simulator]:
    """One simulator for all deployments: equal questions get equal answers."""
    with run_simulator(SimulatorOptions(clock=clock)) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    """Loading certificates takes longer than most tests."""
    return ssl.create_default_context()


@pytest.fixture
async def deployment(
    database_url: str, frozen: Simulator, clock: Clock, sql: asyncpg.Connection, tls: ssl.SSLContext
) -> AsyncIterator[Deployment]:
    frozen.clear_faults()
    clock.now = time.time()
    base = frozen.base_url.removesuffix("/api/v3")
    async with (
        httpx.AsyncClient(base_url=base, verify=tls) as http,
        Deployment(database_url, frozen, sql, http).running() as made,
    ):
        yield made
