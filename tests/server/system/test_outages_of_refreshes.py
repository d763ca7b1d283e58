"""Refreshes that lose the database and reconnect."""

import asyncio

import asyncpg
import pytest

from simulator import Fault, Simulator
from tests.server.cache_probes import until
from tests.server.outages import STATUS, far_server, leave_the_breaker_alone
from tests.server.system.test_database_unavailable import REFRESH, unavailable, works
from tests.serving import TOKEN

pytestmark = pytest.mark.endurance


@pytest.fixture(autouse=True)
def _breaker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_the_breaker_alone(monkeypatch)


async def test_a_running_refresh_ends_with_the_reason(
    database_url: str, sql: asyncpg.Connection, simulator: Simulator
) -> None:
    async with far_server(database_url, simulator) as (server, proxy):
        await server.data(REFRESH, token=TOKEN)
        simulator.add_fault(Fault("slow", path="/market_chart", times=None, seconds=60))
        start = "mutation { refreshPrices(input: {rebuild: true}) { run { id } } }"
        await server.data(start, token=TOKEN)
        waiting = asyncio.create_task(server.post(REFRESH, token=TOKEN))  # joins it
        await server.data(STATUS)
        proxy.freeze()
        unavailable(await waiting)
        simulator.clear_faults()
        unavailable(await server.post(STATUS))
        assert await sql.fetchval("SELECT count(*) FROM refresh_run WHERE status = 'RUNNING'") == 1
        proxy.thaw()
        await until(lambda: works(server))
        left = "SELECT count(*) = 0 FROM refresh_run WHERE status = 'RUNNING'"
        await until(lambda: sql.fetchval(left))
        [newest] = (await server.data(STATUS))["refreshRuns"]["nodes"]
        assert newest["status"] == "FAILED"
        assert "atabase" in newest["error"]
        ended = await server.data(REFRESH, token=TOKEN)
        assert ended["refreshPrices"]["run"]["status"] == "SUCCEEDED"


async def test_a_first_load_that_lost_the_database_is_started_again(
    database_url: str, sql: asyncpg.Connection, simulator: Simulator
) -> None:
    simulator.add_fault(Fault("slow", path="/market_chart", times=None, seconds=60))
    async with far_server(database_url, simulator) as (server, proxy):
        await until(lambda: sql.fetchval("SELECT count(*) = 1 FROM refresh_run"))
        proxy.freeze()
        simulator.clear_faults()
        unavailable(await server.post(STATUS))
        proxy.thaw()
        loaded = "SELECT count(*) = 4 FROM series WHERE last_success_at IS NOT NULL"
        await until(lambda: sql.fetchval(loaded))
        newest = "SELECT (array_agg(status ORDER BY id DESC))[1] = 'SUCCEEDED' FROM refresh_run"
        await until(lambda: sql.fetchval(newest))
