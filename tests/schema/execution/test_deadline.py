"""OPERATION_TIMEOUT cancels an operation and its SQL statement, but not a wait for a run."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from simulator import Fault, Simulator
from tests.serving import TOKEN, live_server, make_settings

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
REFRESH = "mutation { refreshPrices(input: {rebuild: true, wait: true}) { run { status } } }"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "query"),
    [
        ("currency", "{ currencies { code } }"),
        ("price_latest", '{ coin(id: "bitcoin") { latest { price } } }'),  # by a loader's batch
        ("price_hourly", '{ prices(coin: "bitcoin") { points { price } } }'),
        ("series", "{ anomalies { score } seriesStatus { stale } }"),
    ],
)
async def test_a_statement_is_cancelled(
    database_url: str,
    shared_simulator: Simulator,
    sql: asyncpg.Connection,
    table: str,
    query: str,
) -> None:
    """The lock outlives the operation, so only a cancelled statement stops waiting."""
    settings = make_settings(database_url, shared_simulator, operation_timeout=timedelta(seconds=2))
    async with live_server(settings) as server:
        await server.application.refresher.interrupt()
        async with sql.transaction():
            await sql.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            request = asyncio.create_task(server.post(query))
            while not await sql.fetchval(WAITING):  # it has begun
                assert not request.done()
            response = await request
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) > 0
            (error,) = response.json()["errors"]
            assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
            assert "stopped after 2 s (OPERATION_TIMEOUT)" in error["message"]
            async with asyncio.timeout(60):
                while await sql.fetchval(WAITING):
                    await sql.fetchval("SELECT pg_sleep(0.01)")
        assert (await server.post(query)).status_code == 200  # its connection was not poisoned


@pytest.mark.slow
async def test_waiting_for_a_run_is_not_limited(database_url: str, simulator: Simulator) -> None:
    settings = make_settings(database_url, simulator, operation_timeout=timedelta(seconds=2))
    async with live_server(settings) as server:
        await server.application.refresher.interrupt()
        simulator.add_fault(Fault("slow", path="/market_chart", times=1, seconds=3.0))
        data = await server.data(REFRESH, token=TOKEN)
        assert data["refreshPrices"]["run"]["status"] == "SUCCEEDED"
