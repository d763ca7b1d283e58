"""Price updates as subscribers see them, with PostgreSQL and another writing process."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from models.postgres.database import Database
from models.postgres.notifications import Listener
from resolvers.live.price_updates import PriceUpdates
from schema.context import Access, Caller
from tests.following import following, hub_on, prices_of, refused, subscribe
from tests.quoting import PAIRS, Pair, add_series, quote
from tests.server.proxy import proxy_to

BTC_EUR, BTC_USD, ETH_EUR, ETH_USD = PAIRS


@pytest.fixture
async def ids(sql: asyncpg.Connection) -> dict[Pair, int]:
    return await add_series(sql, PAIRS)


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[Database]:
    """A connection that acts as another process."""
    writer = Database(database_url)
    yield writer
    await writer.close()


@pytest.fixture
async def updates(database: Database) -> AsyncIterator[PriceUpdates]:
    async with hub_on(database) as updates:
        yield updates


async def test_a_snapshot_and_then_changes(
    database: Database, updates: PriceUpdates, writer: Database, ids: dict[Pair, int]
) -> None:
    await quote(writer, ids, {BTC_USD: 1.0, ETH_EUR: 2.0})
    async with following(database, updates) as subscriber:
        first = await subscriber.next_of("SNAPSHOT")
        assert prices_of(first) == {BTC_USD: 1.0, ETH_EUR: 2.0}
        assert first["revision"] == 1
        assert [price["revision"] for price in first["prices"]] == [1, 1], "the series' own"
        await quote(writer, ids, {ETH_USD: 3.0, BTC_EUR: 4.0})
        second = await subscriber.next_of("CHANGE")
        assert list(prices_of(second).items()) == [(BTC_EUR, 4.0), (ETH_USD, 3.0)]
        assert second["revision"] == 2


async def test_a_deployment_without_prices(
    database: Database, updates: PriceUpdates, writer: Database, sql: asyncpg.Connection
) -> None:
    async with following(database, updates) as subscriber:
        first = await subscriber.next_of("SNAPSHOT")
        assert (first["prices"], first["revision"]) == ([], 0)
        ids = await add_series(sql, [BTC_USD])  # tracked from now on, and followed
        await quote(writer, ids, {BTC_USD: 1.0})
        assert prices_of(await subscriber.next_of("CHANGE")) == {BTC_USD: 1.0}


@pytest.mark.parametrize(
    ("given", "followed"),
    [
        ({"coins": ["bitcoin"]}, {BTC_EUR, BTC_USD}),
        ({"currencies": [" USD "]}, {BTC_USD, ETH_USD}),
        ({"coins": ["Ethereum", "bitcoin"], "currencies": ["eur"]}, {BTC_EUR, ETH_EUR}),
        ({"coins": []}, set()),
        ({"coins": None, "currencies": None, "since": None}, set(PAIRS)),
    ],
)
async def test_filters(
    database: Database,
    updates: PriceUpdates,
    writer: Database,
    ids: dict[Pair, int],
    given: dict[str, Any],
    followed: set[Pair],
) -> None:
    await quote(writer, ids, dict.fromkeys(PAIRS, 1.0))
    async with (
        following(database, updates, **given) as subscriber,
        following(database, updates) as other,
    ):
        assert prices_of(await subscriber.next()) == dict.fromkeys(followed, 1.0)
        await other.next()
        for number, pair in enumerate(PAIRS):  # series outside of the filter send nothing
            await quote(writer, ids, {pair: 2.0 + number})
            assert prices_of(await other.next()) == {pair: 2.0 + number}
            if pair in followed:
                update = await subscriber.next_of("CHANGE")
                assert prices_of(update) == {pair: 2.0 + number}
                assert update["revision"] == 2 + number


async def test_a_returning_subscriber_receives_what_it_missed(
    database: Database, updates: PriceUpdates, writer: Database, ids: dict[Pair, int]
) -> None:
    for number, pair in enumerate([BTC_USD, BTC_EUR, ETH_USD, BTC_USD]):
        await quote(writer, ids, {pair: float(number)})  # which no hub has heard of: no subscriber
    missed = [
        {BTC_EUR: 1.0, ETH_USD: 2.0, BTC_USD: 3.0},
        {BTC_EUR: 1.0, ETH_USD: 2.0, BTC_USD: 3.0},
        {ETH_USD: 2.0, BTC_USD: 3.0},
        {BTC_USD: 3.0},
    ]
    for since, prices in enumerate(missed):
        async with following(database, updates, since=since) as subscriber:
            update = await subscriber.next_of("CHANGE")
            assert (update["revision"], prices_of(update)) == (4, prices)
    async with following(database, updates, since=4) as subscriber:  # nothing
        await quote(writer, ids, {ETH_EUR: 4.0})
        assert prices_of(await subscriber.next_of("CHANGE")) == {ETH_EUR: 4.0}
    async with following(database, updates, since=3, coins=["ethereum"]) as subscriber:
        assert prices_of(await subscriber.next_of("CHANGE")) == {ETH_EUR: 4.0}


async def test_a_revision_from_another_process_gives_no_gap(
    database: Database, updates: PriceUpdates, writer: Database, ids: dict[Pair, int]
) -> None:
    """A hub without subscribers does not read and may lag behind."""
    async with following(database, updates) as subscriber:
        await subscriber.next_of("SNAPSHOT")
    for number in range(20):
        await quote(writer, ids, {BTC_USD: float(number), ETH_EUR: 1.0 + number})
        async with following(database, updates, since=2 * number + 1) as subscriber:
            await quote(writer, ids, {ETH_USD: float(number)})
            assert prices_of(await subscriber.next_of("CHANGE")) == {ETH_USD: float(number)}


async def test_a_revision_beyond_the_databases(
    database: Database, updates: PriceUpdates, writer: Database, ids: dict[Pair, int]
) -> None:
    await quote(writer, ids, {BTC_USD: 1.0})
    for since in (2, 2**63 - 1):
        async with following(database, updates, since=since) as subscriber:
            update = await subscriber.next_of("GAP")
            assert (update["revision"], prices_of(update)) == (1, {BTC_USD: 1.0})
    async with following(database, updates, since=2) as subscriber:
        await subscriber.next_of("GAP")
        await quote(writer, ids, {BTC_USD: 2.0})
        assert (await subscriber.next_of("CHANGE"))["revision"] == 2


async def test_refusals(database: Database, updates: PriceUpdates, ids: dict[Pair, int]) -> None:
    code, message = await refused(database, updates, coins=["bitcoin", "nocoin"])
    assert (code, message) == (
        "NOT_FOUND",
        "There is no coin 'nocoin': `coins` lists those that are stored.",
    )
    code, message = await refused(database, updates, currencies=["xxx"])
    assert (code, message[:27]) == ("NOT_FOUND", "There is no currency 'xxx':")
    code, _ = await refused(database, updates, coins=["x"] * 501)
    assert code == "BAD_USER_INPUT"
    code, message = await refused(database, updates, since=-1)
    assert (code, message[:7]) == ("BAD_USER_INPUT", "`since`")
    stranger = Caller("test", Access.MISSING_TOKEN, Access.MISSING_TOKEN)
    code, message = await refused(database, updates, caller=stranger)
    assert (code, message[:17]) == ("UNAUTHENTICATED", "A token is needed")
    assert updates.subscribers == 0


async def test_an_unavailable_database(database_url: str, database: Database) -> None:
    async with proxy_to(database_url) as proxy:
        far = Database(proxy.url)
        listener = Listener(far)
        async with hub_on(far, listener) as updates, following(far, updates) as subscriber:
            await subscriber.next_of("SNAPSHOT")
            await proxy.cut()
            # until the listener notices, the newest prices are answered from memory
            while listener.listening:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
            code, message = await refused(far, updates)
            assert code == "SERVICE_UNAVAILABLE"
            assert message.endswith("Try again in a few seconds.")
            await proxy.restore()
            await subscriber.next_of("GAP")
            async with following(far, updates) as other:
                await other.next_of("SNAPSHOT")
        await far.close()


async def test_nothing_remains_of_ended_subscriptions(
    database: Database, updates: PriceUpdates, writer: Database, ids: dict[Pair, int]
) -> None:
    streams = [await subscribe(database, updates, coins=["bitcoin"]) for _ in range(50)]
    for stream in streams:
        await anext(stream)
    assert updates.subscribers == 50
    waiting = [asyncio.create_task(anext(stream)) for stream in streams[:25]]
    await quote(writer, ids, {BTC_USD: 1.0})
    await asyncio.gather(*waiting)
    waiting = [asyncio.create_task(anext(stream)) for stream in streams[:25]]
    await asyncio.sleep(0)
    for task in waiting:  # some go while they wait, the others between two updates
        task.cancel()
    await asyncio.wait(waiting)
    for stream in streams:
        await stream.aclose()
    left = [weakref.ref(stream) for stream in streams]
    del streams, waiting, stream, task
    gc.collect()
    assert [ref() for ref in left] == [None] * 50
    assert updates.subscribers == 0
    assert updates.cached_updates == 0


async def test_the_end_of_the_server(database: Database, updates: PriceUpdates) -> None:
    async with (
        following(database, updates) as one,
        following(database, updates) as other,
    ):
        await one.next_of("SNAPSHOT")
        await other.next_of("SNAPSHOT")
        ending = asyncio.create_task(one.ended())
        await asyncio.sleep(0)
        updates.close()
        assert await ending
        assert await other.ended()
    assert updates.subscribers == 0
    code, message = await refused(database, updates)
    assert (code, message[:23]) == ("SERVICE_UNAVAILABLE", "The server is stopping.")
