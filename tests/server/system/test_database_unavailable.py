"""The database is missing, goes away and comes back."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest

from server import app
from server.http import health
from simulator import Simulator
from tests.server.proxy import proxy_to
from tests.serving import TOKEN, LiveServer, live_server, make_settings

QUERY = "{ currencies { code } }"
PRICES = '{ prices(coin: "bitcoin") { revision points { price } } }'
REFRESH = "mutation { refreshPrices(input: {wait: true}) { run { status } } }"


def unavailable(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert int(response.headers["retry-after"]) > 0
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert "Try again" in error["message"]
    for leak in ("postgres", "127.0.0.1", "Connect", "SELECT", "asyncpg", "Traceback", "secret"):
        assert leak not in response.text


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_RETRY_SECONDS", 0.3)


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < end, "it does not recover"
        await asyncio.sleep(0.1)


async def works(server: LiveServer) -> bool:
    return (await server.post(QUERY)).status_code == 200


async def ready_again(server: LiveServer) -> Any:
    """Wait for a ready server; return its response.

    One check may fail after the database's return: it must reconnect within a short timeout.
    """
    shown: Any = None

    async def is_ready() -> bool:
        nonlocal shown
        answer = await server.http.get("/health/ready")
        shown = answer.json()
        return answer.status_code == 200

    await until(is_ready)
    return shown


async def test_no_server_listens(shared_simulator: Simulator) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"postgresql://u:secret@127.0.0.1:{taken.getsockname()[1]}/db"
        async with live_server(make_settings(url, shared_simulator), ready=False) as server:
            unavailable(await server.post(QUERY))
            unavailable(await server.post(REFRESH, token=TOKEN))
            unavailable(await server.post(QUERY, token="wrong"))  # noqa: S106 - that is the test
            ready = await server.http.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
            assert int(ready.headers["retry-after"]) > 0
            assert "secret" not in ready.text
            live = await server.http.get("/health/live")
            assert (live.status_code, live.json()) == (200, {"status": "live"})
            page = await server.http.get("/graphql", headers={"Accept": "text/html"})
            assert page.status_code == 200
            bad = await server.http.post("/graphql", json={"query": ""})
            assert bad.status_code == 400


@pytest.mark.slow
async def test_a_database_that_starts_later(empty_url: str, shared_simulator: Simulator) -> None:
    """It is not even migrated when the server starts."""
    async with proxy_to(empty_url) as proxy:
        await proxy.cut()
        settings = make_settings(proxy.url, shared_simulator)
        async with live_server(settings, ready=False) as server:
            unavailable(await server.post(QUERY))
            await proxy.restore()
            await until(lambda: works(server))
            assert (await ready_again(server))["migrations"] == "up to date"
            assert (await server.data(REFRESH, token=TOKEN))["refreshPrices"]["run"] == {
                "status": "SUCCEEDED"
            }


@pytest.mark.slow
async def test_connections_that_are_terminated(server: LiveServer, sql: asyncpg.Connection) -> None:
    await asyncio.gather(*(server.data(QUERY) for _ in range(8)))
    killed = await sql.fetch(
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert len(killed) > 1
    alive = "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ANY($1)"
    await until(lambda: sql.fetchval(alive, [pid for pid, _ in killed]))
    answers = await asyncio.gather(*(server.post(QUERY) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8


@pytest.mark.slow
async def test_a_database_that_stops_and_returns(
    database_url: str, shared_simulator: Simulator
) -> None:
    async with proxy_to(database_url) as proxy:
        settings = make_settings(proxy.url, shared_simulator)
        async with live_server(settings) as server:
            await server.data(REFRESH, token=TOKEN)
            before = await server.data(PRICES)
            for _ in range(2):
                await proxy.cut()
                for query in (QUERY, PRICES, "{ coins { nodes { latest { price } } } }"):
                    unavailable(await server.post(query))
                nullable = await server.post('{ coin(id: "bitcoin") { id } }')
                unavailable(nullable)
                assert nullable.json()["data"] is None, "with data the status would have to be 200"
                unavailable(await server.post(REFRESH, token=TOKEN))
                assert (await server.http.get("/health/ready")).status_code == 503
                assert (await server.http.get("/health/live")).status_code == 200
                await proxy.restore()
                await until(lambda: works(server))
                await ready_again(server)
            after = await server.data(PRICES)
            assert after == before
            assert (await server.data(REFRESH, token=TOKEN))["refreshPrices"]["run"] == {
                "status": "SUCCEEDED"
            }


@pytest.mark.slow
async def test_an_unresponsive_database(
    database_url: str, shared_simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The readiness check must not hang with it."""
    async with (
        proxy_to(database_url) as proxy,
        live_server(make_settings(proxy.url, shared_simulator)) as server,
    ):
        await server.data(REFRESH, token=TOKEN)
        monkeypatch.setattr(health, "_CHECK_TIMEOUT_SECONDS", 0.3)
        proxy.freeze()
        ready = await server.http.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert (await server.http.get("/health/live")).status_code == 200
        proxy.thaw()
        await until(lambda: works(server))
        await ready_again(server)


async def test_ready_means_that_operations_are_admitted(server: LiveServer) -> None:
    """The database may be available before the server has noticed."""
    server.application.admission.services = None
    unavailable(await server.post(QUERY))
    ready = await server.http.get("/health/ready")
    assert (ready.status_code, ready.json()["database"]) == (503, "reachable")


async def test_readiness_reports_the_age_of_the_data(
    server: LiveServer, sql: asyncpg.Connection
) -> None:
    ready = await server.http.get("/health/ready")
    age = await sql.fetchval(
        "SELECT extract(epoch FROM now() - max(observed_at))::float8 FROM price_latest"
    )
    body = ready.json()
    assert ready.status_code == 200
    assert abs(body.pop("newestPriceAgeSeconds") - age) < 60
    assert body == {"status": "ready", "database": "reachable", "migrations": "up to date"}
    await sql.execute("UPDATE price_latest SET observed_at = '2020-01-01'")
    old = await server.http.get("/health/ready")
    assert (old.status_code, old.json()["newestPriceAgeSeconds"] > 1e8) == (200, True)
    await sql.execute("UPDATE alembic_version SET version_num = '0000'")
    pending = await server.http.get("/health/ready")
    assert (pending.status_code, pending.json()["migrations"]) == (503, "pending")
    await sql.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = await server.http.get("/health/ready")
    assert newer.status_code == 200, "while servers are replaced, old ones go on"
