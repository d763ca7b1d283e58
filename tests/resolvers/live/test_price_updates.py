"""Price updates under load: none is missed, and memory stays bounded."""

import asyncio
import gc
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from models.postgres.database import Database
from models.postgres.notifications import Listener
from models.series import LatestFacts
from resolvers.live.latest_prices import Filter, LatestPrices, Update, UpdateKind
from resolvers.live.price_updates import PriceUpdates
from tests.following import SECONDS, HeldBack, Subscriber, following, hub_on, prices_of
from tests.quoting import MANY, Pair, quote


async def stored(sql: asyncpg.Connection) -> dict[Pair, tuple[float, int]]:
    """Read the price and the series' revision with SQL."""
    rows = await sql.fetch(
        "SELECT coin_id, currency_code, price, revision"
        " FROM series JOIN price_latest ON id = series_id"
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


async def read_until(subscriber: Subscriber, pair: Pair, price: float) -> list[dict[str, Any]]:
    """Read updates up to the one with this price."""
    found = [await subscriber.next()]
    while prices_of(found[-1]).get(pair) != price:
        found.append(await subscriber.next())
    return found


def applied(updates: Iterable[dict[str, Any]]) -> dict[Pair, tuple[float, int]]:
    """Return what a client holds that follows the descriptions of PriceUpdate."""
    held: dict[Pair, tuple[float, int]] = {}
    for update in updates:
        if update["kind"] != "CHANGE":
            held.clear()
        for each in update["prices"]:
            held[each["coin"], each["currency"]] = each["price"], each["revision"]
    return held


@pytest.mark.slow
async def test_no_change_of_any_writer_is_missed(
    database: Database,
    updates: PriceUpdates,
    writers: list[Database],
    ids: dict[Pair, int],
    sql: asyncpg.Connection,
) -> None:
    draw = random.Random(3)  # noqa: S311 - a test
    await quote(writers[0], ids, dict.fromkeys(MANY, 0.5))

    async def write(writer: Database) -> None:
        for _ in range(60):
            some = draw.sample(MANY, draw.randint(1, 4))
            async with asyncio.timeout(SECONDS):
                await quote(writer, ids, {pair: draw.random() for pair in some}, in_order=False)

    async with (
        following(database, updates) as one,
        following(database, updates, since=0) as back,
        following(database, updates, currencies=["usd"]) as part,
    ):
        last = ("coin-0", "usd")
        reading = [
            asyncio.create_task(read_until(reader, last, 7.0)) for reader in (one, back, part)
        ]
        await asyncio.gather(*map(write, writers))
        await quote(writers[0], ids, {last: 7.0})
        found = await asyncio.wait_for(asyncio.gather(*reading), SECONDS)
    truth = await stored(sql)
    assert applied(found[0]) == applied(found[1]) == truth
    assert applied(found[2]) == {pair: value for pair, value in truth.items() if pair[1] == "usd"}
    assert [each["kind"] for each in found[0]].count("SNAPSHOT") == 1
    assert {each["kind"] for each in found[1]} == {"CHANGE"}
    for each in found:
        revisions = [update["revision"] for update in each]
        assert all(one < other for one, other in pairwise(revisions))
        assert all(update["prices"] for update in each)


def count(kind: type) -> int:
    gc.collect()
    return sum(isinstance(each, kind) for each in gc.get_objects())


@pytest.mark.endurance
async def test_a_subscriber_that_does_not_read_uses_no_memory(
    database: Database, updates: PriceUpdates, writers: list[Database], ids: dict[Pair, int]
) -> None:
    """After 4,000 changes, it receives the newest price of each series."""
    others = count(Update)  # of servers that tests share
    async with (
        following(database, updates) as stalled,
        following(database, updates) as busy,
    ):
        await stalled.next_of("SNAPSHOT")
        await busy.next_of("SNAPSHOT")
        before = count(LatestFacts)
        for number in range(1, 101):
            await quote(writers[0], ids, dict.fromkeys(MANY, float(number)))
            update = await busy.next_of("CHANGE")
            assert prices_of(update) == dict.fromkeys(MANY, float(number))
            if number % 20 == 0:
                # what the hub has, and of the update that `busy` was given last
                assert count(LatestFacts) - before <= 2 * len(MANY)
                assert count(Update) - others <= 3
                assert updates.cached_updates <= 2
        update = await stalled.next_of("CHANGE")
        assert (update["revision"], prices_of(update)) == (100, dict.fromkeys(MANY, 100.0))


async def test_subscribers_at_the_same_position_share_an_update(
    database: Database, updates: PriceUpdates, writers: list[Database], ids: dict[Pair, int]
) -> None:
    await quote(writers[0], ids, {MANY[0]: 1.0})
    streams = [await updates.subscribe(None, None, None) for _ in range(3)]
    streams.append(await updates.subscribe(["coin-0"], None, None))
    firsts = [await anext(stream) for stream in streams]
    for number in range(2, 20):
        await quote(writers[0], ids, {MANY[0]: float(number)})
        *same, other = [await anext(stream) for stream in streams]
        same[0].rendered["a query"] = b"an answer"
        assert [update.rendered for update in same[1:]] == [{"a query": b"an answer"}] * 2
        assert all(update is same[0] for update in same)
        assert other is not same[0]
    assert firsts[0].revision == 1
    for stream in streams:
        await stream.aclose()


async def test_a_burst_is_read_at_once(
    database: Database,
    updates: PriceUpdates,
    writers: list[Database],
    ids: dict[Pair, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with following(database, updates) as subscriber:
        await subscriber.next_of("SNAPSHOT")
        reads = HeldBack(monkeypatch)
        await quote(writers[0], ids, {MANY[0]: 1.0})
        await reads.reading.wait()
        for number, pair in enumerate(MANY):
            await quote(writers[0], ids, {pair: float(number)})
        reads.may_end.set()
        assert prices_of(await subscriber.next_of("CHANGE")) == {MANY[0]: 1.0}
        last = {pair: float(number) for number, pair in enumerate(MANY)}
        assert prices_of(await subscriber.next_of("CHANGE")) == last
        assert reads.begun == 2
        updates.series_changed(ids[MANY[0]], 5)  # heard late: it has been read
        await quote(writers[0], ids, {MANY[0]: 9.0})
        assert prices_of(await subscriber.next_of("CHANGE")) == {MANY[0]: 9.0}
        assert reads.begun == 3


async def test_a_change_before_the_first_read_of_a_subscriber(
    database: Database, writers: list[Database], ids: dict[Pair, int]
) -> None:
    listener = Listener(database)
    async with hub_on(database, listener) as updates:
        stream = await updates.subscribe(None, None, None)
        await quote(writers[0], ids, {MANY[0]: 1.0})
        await listener.catch_up()
        assert (await anext(stream)).revision == 0
        update = await asyncio.wait_for(anext(stream), SECONDS)
        assert (update.revision, [row.price for row in update.rows]) == (1, [1.0])
        await stream.aclose()


def test_one_snapshot_is_cached_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is built again as time passes, because ages refer to the time it was built."""
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    class Clock:
        @staticmethod
        def now(_zone: object) -> datetime:
            return now

    monkeypatch.setattr("resolvers.live.latest_prices.datetime", Clock)
    newest, everything = LatestPrices(), Filter.of(None, None)
    first = newest.current(UpdateKind.SNAPSHOT, everything)
    assert newest.current(UpdateKind.SNAPSHOT, everything) is first
    for _ in range(100):
        now += timedelta(seconds=1)
        assert newest.current(UpdateKind.SNAPSHOT, everything).now == now
    assert newest.cached_updates == 1
