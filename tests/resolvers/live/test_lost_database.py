"""Price updates while the database connection is lost and restored."""

import asyncio

import asyncpg
import pytest

from models.postgres.database import Database
from models.postgres.notifications import APPLICATION_NAME, CHANNEL, Listener
from resolvers.live.price_updates import PriceUpdates
from tests.following import SECONDS, HeldBack, following, hub_on, prices_of
from tests.quoting import MANY, Pair, quote

TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = $1
"""


async def test_after_the_connection_was_lost(
    database: Database,
    updates: PriceUpdates,
    writers: list[Database],
    ids: dict[Pair, int],
    sql: asyncpg.Connection,
) -> None:
    await quote(writers[0], ids, {MANY[0]: 1.0})
    async with (
        following(database, updates) as waiting,
        following(database, updates, coins=["coin-5"]) as slow,
    ):
        await waiting.next_of("SNAPSHOT")
        await slow.next_of("SNAPSHOT")
        for number in range(2):
            waiting.begin()
            assert await sql.fetch(TERMINATE, APPLICATION_NAME)
            update = await waiting.next_of("GAP")  # though nothing changed
            assert prices_of(update) == {MANY[0]: 1.0 + number}
            await quote(writers[0], ids, {MANY[0]: 2.0 + number})
            assert prices_of(await waiting.next_of("CHANGE")) == {MANY[0]: 2.0 + number}
        update = await slow.next_of("GAP")  # one for both times, and though there is no price
        assert (update["revision"], update["prices"]) == (3, [])
        await quote(writers[0], ids, {("coin-5", "usd"): 5.0})
        assert prices_of(await slow.next_of("CHANGE")) == {("coin-5", "usd"): 5.0}


async def test_a_manual_change_of_the_tables(
    database: Database, updates: PriceUpdates, ids: dict[Pair, int], sql: asyncpg.Connection
) -> None:
    """As docs/operations.md describes: with a notification without a series."""
    await quote(database, ids, {MANY[0]: 1.0, MANY[1]: 1.0})
    async with following(database, updates) as subscriber:
        await subscriber.next_of("SNAPSHOT")
        await sql.execute("DELETE FROM price_latest WHERE series_id = $1", ids[MANY[0]])
        await sql.execute("SELECT pg_notify($1, '')", CHANNEL)
        assert prices_of(await subscriber.next_of("GAP")) == {MANY[1]: 1.0}


async def test_a_failed_read_is_retried(
    database: Database,
    updates: PriceUpdates,
    writers: list[Database],
    ids: dict[Pair, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetch, failures = Database.fetch, iter(range(3))

    async def fail(self: Database, statement: str, *arguments: object) -> list[asyncpg.Record]:
        if self is database and next(failures, None) is not None:
            raise TimeoutError
        return await fetch(self, statement, *arguments)

    async with following(database, updates) as subscriber:
        await subscriber.next_of("SNAPSHOT")
        monkeypatch.setattr(Database, "fetch", fail)
        await quote(writers[0], ids, {MANY[0]: 1.0})
        assert prices_of(await subscriber.next_of("CHANGE")) == {MANY[0]: 1.0}
        assert next(failures, None) is None


async def test_a_connection_that_is_lost_during_a_read(
    database: Database,
    writers: list[Database],
    ids: dict[Pair, int],
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The read before the loss does not include changes missed during it."""
    listener = Listener(database)
    async with (
        hub_on(database, listener) as updates,
        following(database, updates) as subscriber,
    ):
        await subscriber.next_of("SNAPSHOT")
        reads = HeldBack(monkeypatch)
        await quote(writers[0], ids, {MANY[0]: 1.0})
        await reads.reading.wait()
        assert await sql.fetch(TERMINATE, APPLICATION_NAME)
        async with asyncio.timeout(SECONDS):
            while listener.listening:  # noqa: ASYNC110 - it says nothing
                await asyncio.sleep(0)
        await quote(writers[0], ids, {MANY[1]: 2.0})
        reads.may_end.set()
        assert prices_of(await subscriber.next_of("GAP")) == {MANY[0]: 1.0, MANY[1]: 2.0}


async def test_a_change_during_a_full_read(
    database: Database,
    writers: list[Database],
    ids: dict[Pair, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The read does not include it, and no later change may follow it."""
    await quote(writers[0], ids, {MANY[0]: 1.0})
    listener = Listener(database)
    reads = HeldBack(monkeypatch)
    async with hub_on(database, listener) as updates:
        subscribing = asyncio.create_task(updates.subscribe(None, None, None))
        await reads.reading.wait()
        await quote(writers[0], ids, {MANY[0]: 2.0})
        await listener.catch_up()
        reads.may_end.set()
        stream = await subscribing
        prices = [row.price for row in (await anext(stream)).rows]
        while prices != [2.0]:
            update = await asyncio.wait_for(anext(stream), SECONDS)
            prices = [row.price for row in update.rows]
        await stream.aclose()
