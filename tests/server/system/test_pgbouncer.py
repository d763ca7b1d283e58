"""PgBouncer as Debian configures it: session mode works, other modes are rejected."""

import asyncio
from collections.abc import Iterator

import pytest

from models.postgres.advisory_lock import LEADER_LOCK
from models.postgres.database import Database, DatabaseRefusedError
from simulator import Simulator
from tests.clusters import Cluster, pgbouncer, running_cluster
from tests.server.system.test_database_unavailable import PRICES, REFRESH, until
from tests.server.system.test_failover import HOLDERS, value
from tests.server.system.test_few_connections import all_answered, is_listening
from tests.serving import TOKEN, LiveServer, connected, live_server, make_settings

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


def url_at(port: int, parameters: str = "") -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/postgres{parameters}"


async def works_whole(server: LiveServer, cluster: Cluster) -> None:
    await until(lambda: is_listening(server))
    ended = await server.data(REFRESH, token=TOKEN)
    assert ended["refreshPrices"]["run"]["status"] == "SUCCEEDED"
    first = await server.post(PRICES)
    assert first.headers["x-cache"] == "MISS"
    assert (await server.post(PRICES)).headers["x-cache"] == "HIT"
    async with connected(cluster.url()) as sql:
        await sql.execute("NOTIFY coingraph_prices")
    await until(lambda: is_new(server))
    assert (await server.post(PRICES)).json() == first.json()
    await until(lambda: value(cluster, f"SELECT ({HOLDERS}) = 1", LEADER_LOCK))
    await all_answered(server, 60, 30)


async def is_new(server: LiveServer) -> bool:
    """Return True if the cache has dropped its entries."""
    return (await server.post(PRICES)).headers["x-cache"] == "MISS"


@pytest.mark.parametrize("lines", [(), ("default_pool_size = 6",)])
async def test_session_mode(
    cluster: Cluster, shared_simulator: Simulator, lines: tuple[str, ...]
) -> None:
    """Also with fewer sessions than the pool may open."""
    with pgbouncer(cluster, *lines) as port:
        settings = make_settings(url_at(port), shared_simulator, operation_timeout="120s")
        async with live_server(settings) as server:
            await works_whole(server, cluster)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_other_modes_are_refused(cluster: Cluster, mode: str) -> None:
    with pgbouncer(cluster, f"pool_mode = {mode}") as port:
        databases = [Database(url_at(port)) for _ in range(3)]
        for database in databases:
            with pytest.raises(DatabaseRefusedError) as refused:
                await database.check()
            assert "pool_mode=session" in refused.value.remedy
        await asyncio.gather(*(database.close() for database in databases))


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [
        ("?options=-cwork_mem%3D1MB", "ignore_startup_parameters"),
        ("?sslmode=require", "offers no TLS"),
    ],
)
async def test_statements_that_pgbouncer_refuses(
    cluster: Cluster, parameters: str, shown: str
) -> None:
    with pgbouncer(cluster) as port:
        database = Database(url_at(port, parameters))
        with pytest.raises(DatabaseRefusedError) as refused:
            await database.check()
        assert shown in refused.value.remedy
        await database.close()


async def test_pgbouncer_cannot_reach_postgresql(
    cluster: Cluster, shared_simulator: Simulator
) -> None:
    """An outage that the server waits for, although PgBouncer responds."""
    with pgbouncer(cluster, "server_login_retry = 1") as port:
        settings = make_settings(url_at(port), shared_simulator, cache_megabytes=0)
        async with live_server(settings) as server:
            await server.data(REFRESH, token=TOKEN)
            before = await server.data(PRICES)
            await asyncio.to_thread(cluster.stop)
            assert (await server.post(PRICES)).status_code == 503
            await asyncio.to_thread(cluster.start)
            await until(lambda: answers(server))
            assert await server.data(PRICES) == before


async def answers(server: LiveServer) -> bool:
    return (await server.post(PRICES)).status_code == 200
