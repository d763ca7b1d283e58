"""Price updates: written by other processes, and across a restart of PostgreSQL."""

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from models.postgres.database import Database
from models.postgres.migrate import migrate
from models.postgres.notifications import CHANNEL
from server.postgres.embedded import EmbeddedPostgres
from simulator import Simulator
from tests.following import SECONDS, following, hub_on, prices_of
from tests.quoting import PAIRS, add_series, quote
from tests.server.cache_probes import wait_for_listener
from tests.server.server_process import environment
from tests.serving import LiveServer, connected

pytestmark = pytest.mark.processes


async def test_prices_of_another_process_are_pushed(
    server: LiveServer, database_url: str, shared_simulator: Simulator, sql: asyncpg.Connection
) -> None:
    await sql.execute("UPDATE price_latest SET price = -1, observed_at = '2020-01-01'")
    await sql.execute("SELECT pg_notify($1, '')", CHANNEL)  # manual writes need a notification
    application = (await wait_for_listener(server)).application
    async with following(application.database, application.updates) as subscriber:
        first = await subscriber.next_of("SNAPSHOT")
        assert prices_of(first) == dict.fromkeys(PAIRS, -1.0)
        given = {
            "DATABASE_URL": database_url,
            "COINGECKO_BASE_URL": str(shared_simulator.base_url),
            "COINGECKO_REQUESTS_PER_MINUTE": "600000",
            "COINS": "bitcoin,ethereum",
            "CURRENCIES": "usd,eur",
            "HISTORY_DAYS": "5",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from server.cli.main import main; main()", "refresh",
            env=environment(given), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        held = prices_of(first)
        while min(held.values()) < 0:
            held |= prices_of(await subscriber.next_of("CHANGE"))
        assert await process.wait() == 0
    assert application.updates.subscribers == 0


async def test_a_stopping_server_ends_subscriptions(server: LiveServer) -> None:
    application = server.application
    async with following(application.database, application.updates) as subscriber:
        await subscriber.next_of("SNAPSHOT")
        subscriber.begin()
        application.updates.close()
        assert await subscriber.ended()


@pytest.mark.skipif(sys.platform == "win32", reason="no embedded PostgreSQL there")
async def test_a_postgresql_that_is_stopped_and_started(tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(tmp_path)
    url = await asyncio.to_thread(embedded.start)
    database = Database(url)
    try:
        await migrate(database)
        async with connected(url) as sql:
            ids = await add_series(sql, PAIRS)
        await quote(database, ids, {PAIRS[0]: 1.0})
        async with hub_on(database) as updates:
            async with following(database, updates) as one, following(database, updates) as slow:
                await one.next_of("SNAPSHOT")
                await slow.next_of("SNAPSHOT")
                one.begin()
                await asyncio.to_thread(embedded.stop)
                await asyncio.to_thread(embedded.start)
                async with asyncio.timeout(SECONDS):
                    assert prices_of(await one.next_of("GAP")) == {PAIRS[0]: 1.0}
                await quote(database, ids, {PAIRS[1]: 2.0})
                update = await one.next_of("CHANGE")
                assert (update["revision"], prices_of(update)) == (2, {PAIRS[1]: 2.0})
                assert prices_of(await slow.next_of("GAP")) == {PAIRS[0]: 1.0, PAIRS[1]: 2.0}
            assert updates.subscribers == 0
    finally:
        await database.close()
        await asyncio.to_thread(embedded.stop)
