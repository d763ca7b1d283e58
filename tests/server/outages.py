"""Helpers of the tests with database outages."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from models.postgres import circuit_breaker, connection, database
from server import app
from server.http import health
from simulator import Simulator
from tests.server.proxy import Proxy, proxy_to
from tests.serving import LiveServer, live_server, make_settings

STATUS = "{ refreshRuns(first: 1) { nodes { status error } } }"
_NEVER = 3_600.0


def leave_the_breaker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable all other timeouts, so that a response proves the circuit breaker works."""
    monkeypatch.setattr(circuit_breaker, "DOUBT_SECONDS", 0.1)
    monkeypatch.setattr(circuit_breaker, "PROBE_SECONDS", 2.0)
    monkeypatch.setattr(connection, "CONNECT_SECONDS", _NEVER)
    for name in ("READ_SECONDS", "WRITE_SECONDS"):
        monkeypatch.setattr(database, name, _NEVER)
    monkeypatch.setattr(health, "_CHECK_TIMEOUT_SECONDS", _NEVER)
    monkeypatch.setattr(app, "_RETRY_SECONDS", 0.2)


@contextlib.asynccontextmanager
async def far_server(url: str, simulator: Simulator) -> AsyncIterator[tuple[LiveServer, Proxy]]:
    """A server without a cache, whose connection to the database can be cut."""
    async with (
        proxy_to(url) as proxy,
        live_server(make_settings(proxy.url, simulator, cache_megabytes=0)) as server,
    ):
        yield server, proxy
