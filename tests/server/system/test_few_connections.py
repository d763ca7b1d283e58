"""Fewer connections than the pool may open: callers wait, and other programs connect."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database, DatabaseUnavailableError
from simulator import Simulator
from tests.conftest import administer
from tests.server.system.test_database_unavailable import REFRESH, until
from tests.serving import TOKEN, LiveServer, live_server, make_settings


@contextlib.asynccontextmanager
async def limited(database_url: str, most: int) -> AsyncIterator[str]:
    """Return the URL of a database for a role with a connection limit."""
    role = f"few_{make_url(database_url).database}"
    await administer(database_url, f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {most}")
    try:
        await administer(database_url, f"GRANT pg_read_all_data, pg_write_all_data TO {role}")
        url = make_url(database_url).set(username=role)
        yield url.render_as_string(hide_password=False)
    finally:
        await administer(database_url, f"DROP ROLE {role}")


async def is_listening(server: LiveServer) -> bool:
    return server.application.listener.listening


async def all_answered(server: LiveServer, count: int, parallel: int) -> None:
    """Send `count` slow, uncached queries at once."""
    turns = asyncio.Semaphore(parallel)

    async def ask(number: int) -> int:
        async with turns:
            query = f'{{ n{number}: prices(coin: "bitcoin") {{ points {{ price }} }} '
            answer = await server.post(query + f"r{number}: refreshRuns {{ nodes {{ id }} }} }}")
            return answer.status_code

    statuses = await asyncio.gather(*(ask(number) for number in range(count)))
    assert statuses == [200] * count


@pytest.mark.slow
@pytest.mark.parametrize(("most", "more"), [(10, {}), (10, {"database_pool_size": 40}), (5, {})])
async def test_a_role_with_few_connections(
    database_url: str, shared_simulator: Simulator, most: int, more: dict[str, int]
) -> None:
    async with limited(database_url, most) as url:
        settings = make_settings(
            url, shared_simulator, cache_megabytes=0, operation_timeout="120s", **more
        )
        async with live_server(settings) as server:
            await all_answered(server, 150 if more == {} else 40, 30)
            await until(lambda: is_listening(server))
            ended = await server.data(REFRESH, token=TOKEN)
            assert ended["refreshPrices"]["run"]["status"] == "SUCCEEDED"
            refreshing = asyncio.create_task(server.data(REFRESH, token=TOKEN))
            await all_answered(server, 40, 30)
            assert (await refreshing)["refreshPrices"]["run"]["status"] == "SUCCEEDED"
            assert await is_listening(server)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_small_pool(database_url: str, shared_simulator: Simulator, size: int) -> None:
    """No operation needs two pooled connections at once."""
    settings = make_settings(
        database_url,
        shared_simulator,
        cache_megabytes=0,
        database_pool_size=size,
        operation_timeout="120s",
    )
    async with live_server(settings) as server:
        refreshing = asyncio.create_task(server.data(REFRESH, token=TOKEN))
        await all_answered(server, 40, 20)
        assert (await refreshing)["refreshPrices"]["run"]["status"] == "SUCCEEDED"
        pools = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'coingraph'"
        [row] = await server.application.database.fetch(pools + " AND datname=current_database()")
        assert row[0] <= size


@pytest.mark.slow
async def test_no_connection_is_available(database_url: str, sql: asyncpg.Connection) -> None:
    """Requests wait although the pool is empty, and continue when a connection is free."""
    async with limited(database_url, 2) as url:
        other, database = Database(url), Database(url)
        one, two = (AdvisoryLock(other, key) for key in (1, 2))
        async with one, two:
            assert await one.acquire()
            assert await two.acquire()
            waiting = asyncio.create_task(database.fetch("SELECT 7"))
            await asyncio.wait([waiting], timeout=0.5)
            assert not waiting.done()
            await one.release()
            [row] = await waiting
            assert row[0] == 7
        await database.close()
        impatient = Database(url, read_seconds=0.5)
        async with one, two:
            assert await one.acquire()
            assert await two.acquire()
            with pytest.raises(DatabaseUnavailableError, match="takes no more connections"):
                await impatient.fetch("SELECT 7")
        await impatient.close()
        await other.close()


async def test_idle_connections_are_released(database: Database) -> None:
    """Idle connections reserved for `fetch` do not make others wait."""
    await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.05)") for _ in range(12)))
    database._pool._slots.shrink_to(1)  # noqa: SLF001 - as a refusal does
    async with database.write() as session:
        assert await session.scalar(text("SELECT 7")) == 7
    async with database.read() as session:
        assert await session.scalar(text("SELECT 7")) == 7


async def test_the_pool_grows_again(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.postgres.connection_slots._GROW_SECONDS", 0.0)
    async with limited(database_url, 4) as url:
        database = Database(url, pool_size=8)
        sleeps = (database.fetch("SELECT pg_sleep(0.05)") for _ in range(20))
        await asyncio.gather(*sleeps)
        await administer(database_url, f"ALTER ROLE {database.url.username} CONNECTION LIMIT 20")
        count = "SELECT count(*) FROM pg_stat_activity, pg_sleep(0.05) WHERE usename = current_user"

        async def grown() -> bool:
            rows = await asyncio.gather(*(database.fetch(count) for _ in range(30)))
            return max(int(row[0]) for [row] in rows) > 4

        await until(grown)
        await database.close()
