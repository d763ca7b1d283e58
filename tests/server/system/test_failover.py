"""A real primary and standby behind a load balancer that points to one of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from models.postgres.advisory_lock import LEADER_LOCK, AdvisoryLock
from models.postgres.database import Database, DatabaseReadOnlyError
from simulator import Simulator
from tests.clusters import Cluster, ordinary_folder, running_cluster
from tests.server.balancer import Balancer, balancing
from tests.server.system.test_database_unavailable import PRICES, REFRESH, unavailable, until, works
from tests.serving import TOKEN, LiveServer, connected, live_server, make_settings

pytestmark = pytest.mark.endurance
HOLDERS = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND (classid::bigint << 32 | objid::bigint) = $1
"""


@pytest.fixture
def primary() -> Iterator[Cluster]:
    with running_cluster("hot_standby=on", "wal_keep_size=256MB") as cluster:
        yield cluster


@pytest.fixture
def standby(primary: Cluster) -> Iterator[Cluster]:
    with ordinary_folder() as folder:
        cluster = Cluster(folder)
        cluster.copy_of(primary)
        cluster.start()
        yield cluster
        cluster.stop()


@contextlib.asynccontextmanager
async def servers(
    balancer: Balancer, simulator: Simulator, count: int = 1
) -> AsyncIterator[list[LiveServer]]:
    url = f"postgresql://postgres@127.0.0.1:{balancer.port}/postgres"
    async with contextlib.AsyncExitStack() as stack:
        settings = make_settings(url, simulator)
        yield [await stack.enter_async_context(live_server(settings)) for _ in range(count)]


async def value(cluster: Cluster, query: str, *arguments: object) -> Any:
    async with connected(cluster.url()) as sql:
        return await sql.fetchval(query, *arguments)


async def replayed(primary: Cluster, standby: Cluster) -> None:
    """Wait until the standby has caught up with the primary."""
    position = await value(primary, "SELECT pg_current_wal_lsn()::text")
    query = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
    await until(lambda: value(standby, query, position))


async def database_state(server: LiveServer) -> str:
    return str((await server.http.get("/health/ready")).json()["database"])


async def refreshes(server: LiveServer) -> bool:
    answer = await server.post(REFRESH, token=TOKEN)
    if answer.status_code == 503:
        unavailable(answer)
        return False
    return bool(answer.json()["data"]["refreshPrices"]["run"]["status"] == "SUCCEEDED")


async def test_a_connection_to_the_standby_for_a_while(
    primary: Cluster, standby: Cluster, shared_simulator: Simulator
) -> None:
    """The pool, the leader, the listener and refreshes all return to the primary."""
    async with (
        balancing(primary.port) as balancer,
        servers(balancer, shared_simulator, 2) as both,
    ):
        one = both[0]
        await until(lambda: refreshes(one))
        before = await one.data(PRICES)
        await replayed(primary, standby)
        balancer.target = standby.port
        balancer.drop()
        for server in both:
            await until(partial(_is, server, "read-only"))
            assert await server.data(PRICES) == before
        refused = await one.post(REFRESH, token=TOKEN)
        unavailable(refused)
        assert "takes no writes" in refused.text
        # until both have tried to lead: the lock of a standby is none
        with pytest.raises(DatabaseReadOnlyError):
            await AdvisoryLock(one.application.database, LEADER_LOCK).acquire()
        assert await value(standby, HOLDERS, LEADER_LOCK) == 0
        balancer.target = primary.port  # and no connection is dropped
        for server in both:
            await until(partial(_is, server, "reachable"))
            await until(partial(refreshes, server))
            await until(partial(_hears, server))
        await until(lambda: value(primary, f"SELECT ({HOLDERS}) = 1", LEADER_LOCK))
        await until(lambda: _nobody_of_ours(standby))


async def test_unused_connections_leave_the_standby(primary: Cluster, standby: Cluster) -> None:
    """Nothing but the watch looks at the database after the balancer points to the primary."""

    async def read() -> None:
        async with database.read() as session:
            await session.execute(text("SELECT pg_sleep(0.1)"))

    async with balancing(standby.port) as balancer:
        database = Database(f"postgresql://postgres@127.0.0.1:{balancer.port}/postgres")
        try:
            await asyncio.gather(*(read() for _ in range(10)))
            await database.fetch("SELECT 1")
            assert not await _nobody_of_ours(standby)
            balancer.target = primary.port
            await until(lambda: _nobody_of_ours(standby))
            [[in_recovery]] = await database.fetch("SELECT pg_is_in_recovery()")
            assert not in_recovery
        finally:
            await database.close()


async def test_the_standby_is_promoted(
    primary: Cluster, standby: Cluster, shared_simulator: Simulator
) -> None:
    async with (
        balancing(primary.port) as balancer,
        servers(balancer, shared_simulator) as [server],
    ):
        await until(lambda: refreshes(server))
        before = await server.data(PRICES)
        await replayed(primary, standby)
        balancer.target = standby.port
        await asyncio.to_thread(primary.stop)
        await until(lambda: _is(server, "read-only"))
        assert await server.data(PRICES) == before
        await asyncio.to_thread(standby.promote)
        await until(lambda: _is(server, "reachable"))
        await until(lambda: refreshes(server))
        await until(lambda: value(standby, f"SELECT ({HOLDERS}) = 1", LEADER_LOCK))
        await until(lambda: _hears(server))


async def test_a_primary_that_is_read_only_for_a_while(
    primary: Cluster, shared_simulator: Simulator
) -> None:
    """Open sessions follow a change of the configuration."""
    async with live_server(make_settings(primary.url(), shared_simulator)) as server:
        await until(lambda: refreshes(server))
        before = await server.data(PRICES)
        for switch, state in (("on", "read-only"), ("off", "reachable")):
            async with connected(primary.url()) as sql:
                await sql.execute(f"ALTER SYSTEM SET default_transaction_read_only = {switch}")
                await sql.execute("SELECT pg_reload_conf()")
            await until(partial(_is, server, state))
            assert await server.data(PRICES) == before
            if switch == "on":
                refused = await server.post(REFRESH, token=TOKEN)
                unavailable(refused)
                assert "takes no writes" in refused.text
        await until(lambda: refreshes(server))
        await until(lambda: value(primary, f"SELECT ({HOLDERS}) = 1", LEADER_LOCK))


async def test_several_hosts_find_the_primary(
    primary: Cluster, standby: Cluster, shared_simulator: Simulator
) -> None:
    hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    url = f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"
    async with live_server(make_settings(url, shared_simulator)) as server:
        await until(lambda: refreshes(server))
        before = await server.data(PRICES)
        assert await database_state(server) == "reachable"
        await replayed(primary, standby)
        await asyncio.to_thread(primary.stop)
        unavailable(await server.post("{ refreshRuns { nodes { id } } }"))
        await asyncio.to_thread(standby.promote)
        await until(lambda: works(server))
        await until(lambda: refreshes(server))
        assert await server.data(PRICES) == before


async def test_a_start_on_a_standby(
    primary: Cluster, standby: Cluster, shared_simulator: Simulator
) -> None:
    """It serves stored data, and needs no restart when the standby is promoted."""
    async with live_server(make_settings(primary.url(), shared_simulator)) as server:
        await until(lambda: refreshes(server))
        before = await server.data(PRICES)
    await replayed(primary, standby)
    async with live_server(make_settings(standby.url(), shared_simulator)) as server:
        ready = await server.http.get("/health/ready")
        assert (ready.status_code, ready.json()["database"]) == (200, "read-only")
        assert await server.data(PRICES) == before
        refused = await server.post(REFRESH, token=TOKEN)
        unavailable(refused)
        assert "takes no writes" in refused.text
        await asyncio.to_thread(primary.stop)
        await asyncio.to_thread(standby.promote)
        await until(lambda: refreshes(server))
        await until(lambda: _is(server, "reachable"))


async def _is(server: LiveServer, state: str) -> bool:
    return await database_state(server) == state


async def _hears(server: LiveServer) -> bool:
    return server.application.listener.listening


async def _nobody_of_ours(cluster: Cluster) -> bool:
    query = (
        "SELECT count(*) = 0 FROM pg_stat_activity"
        " WHERE application_name LIKE 'coingraph%' AND application_name <> 'coingraph probe'"
    )
    with contextlib.suppress(asyncpg.PostgresError):
        return bool(await value(cluster, query))
    return False
