"""Cached windows equal those of PostgreSQL and are never older than a notification."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from random import Random

import asyncpg
import numpy as np
import pytest

from models.postgres.database import Database
from models.postgres.notifications import APPLICATION_NAME, Listener
from models.prices import series_cache
from models.prices.granularity import Granularity
from models.prices.read import ALL_COLUMNS, PriceWindow, SeriesColumns, WindowPrices, read_windows
from models.prices.series_cache import SeriesCache, read_cached_windows
from tests.counting import statements
from tests.models.storing import HOUR, Sample, store

START = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = [("bitcoin", "usd"), ("bitcoin", "eur"), ("nope", "usd")]


@pytest.fixture
async def filled(database: Database, series: int, other_series: int) -> list[int]:
    """Two series with gaps and nulls."""
    draw = Random(4)  # noqa: S311 - a test
    for each in (series, other_series):
        hours = [number for number in range(300) if draw.random() > 0.2]
        await store(
            database,
            each,
            {
                START + number * HOUR: Sample(draw.random(), draw.choice([None, draw.random()]))
                for number in hours
            },
        )
    return [series, other_series]


@contextlib.asynccontextmanager
async def remembering(
    database: Database, capacity: int = 1_000_000
) -> AsyncIterator[tuple[SeriesCache, Listener]]:
    listener = Listener(database)
    cache = SeriesCache(capacity, listener)
    listener.subscribe(cache)
    task = asyncio.create_task(listener.run())
    try:
        async with asyncio.timeout(60):
            while not listener.listening:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
        yield cache, listener
    finally:
        task.cancel()
        await asyncio.wait([task])


def drawn(draw: Random) -> PriceWindow:
    first, length = draw.uniform(-30, 330), draw.choice([0, 1, 24, draw.uniform(0, 400)])
    start = START + timedelta(hours=draw.choice([first, round(first)]))
    end = start + timedelta(hours=length)
    return PriceWindow(*draw.choice(NAMES), start, end, draw.choice([0, 1, 7, 10_001]))


def assert_same(one: SeriesColumns, other: SeriesColumns, columns: frozenset[str]) -> None:
    for field in fields(SeriesColumns):
        if field.name in columns | {"timestamps", "samples"}:
            column = getattr(one, field.name)
            np.testing.assert_array_equal(column, getattr(other, field.name))
            assert column is None or column.flags.c_contiguous


async def both(
    database: Database, cache: SeriesCache, windows: list[PriceWindow], draw: Random
) -> None:
    columns = frozenset(draw.sample(sorted(ALL_COLUMNS), 3))
    descending = draw.random() < 0.5
    recalled = await read_cached_windows(
        database, cache, windows, columns=columns, descending=descending
    )
    read = await read_windows(
        database, Granularity.HOUR, windows, columns=columns, descending=descending
    )
    for one, other in zip(recalled, read, strict=True):
        if one is None or other is None:
            assert one is other
            continue
        assert one.facts == other.facts
        assert_same(one.columns, other.columns, columns)


async def test_any_window(database: Database, filled: list[int]) -> None:
    draw = Random(7)  # noqa: S311 - a test
    async with remembering(database) as (cache, listener):
        for number in range(150):
            await both(database, cache, [drawn(draw) for _ in range(draw.randint(1, 4))], draw)
            if number % 10 == 9:  # some hours again, one more, one changed
                at = START + draw.randrange(310) * HOUR
                await store(database, draw.choice(filled), {at: Sample(draw.random())})
                await listener.catch_up()


async def recall(database: Database, cache: SeriesCache) -> WindowPrices:
    window = PriceWindow("bitcoin", "usd", START, START + 400 * HOUR, 10_001)
    [found] = await read_cached_windows(
        database, cache, [window], columns=frozenset({"price"}), descending=False
    )
    assert found is not None
    return found


async def asked(database: Database, cache: SeriesCache) -> int:
    """How many statements one window takes."""
    async with statements(database) as sent:
        await recall(database, cache)
        await asyncio.sleep(0)  # asyncpg notifies of them in the loop's next turn
    return len(sent)


async def test_a_series_requested_twice_is_cached_until_a_change(
    database: Database, filled: list[int]
) -> None:
    async with remembering(database) as (cache, listener):
        assert [await asked(database, cache) for _ in range(4)] == [1, 1, 0, 0]
        before = await recall(database, cache)
        await store(database, filled[0], {START: Sample(77.0)})
        await listener.catch_up()
        after = await recall(database, cache)
        assert after.facts.revision == before.facts.revision + 1
        assert after.columns.prices[0] == 77.0
        assert [await asked(database, cache) for _ in range(2)] == [1, 0]
        await store(database, filled[1], {START: Sample(78.0)})
        await listener.catch_up()
        assert await asked(database, cache) == 0, "another series' change"


async def test_nothing_is_remembered_that_changed_while_it_was_read(
    database: Database, filled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with remembering(database) as (cache, listener):
        await recall(database, cache)

        async def slowly(*given: object, **more: object) -> object:
            found = await read_windows(*given, **more)  # type: ignore[arg-type] # handed on
            await store(database, filled[0], {START: Sample(79.0)})
            await listener.catch_up()
            return found

        monkeypatch.setattr(series_cache, "read_windows", slowly)
        await recall(database, cache)
        monkeypatch.undo()
        assert cache.size == 0
        assert (await recall(database, cache)).columns.prices[0] == 79.0


async def test_nothing_is_given_while_changes_go_unheard(
    database: Database, filled: list[int], sql: asyncpg.Connection
) -> None:
    async with remembering(database) as (cache, listener):
        for _ in range(3):
            await recall(database, cache)
        assert cache.size > 0
        await sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = $1",
            APPLICATION_NAME,
        )
        async with asyncio.timeout(60):
            while listener.listening:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0)
        assert cache.size == 0
        await store(database, filled[0], {START: Sample(80.0)})
        assert (await recall(database, cache)).columns.prices[0] == 80.0


async def test_room_is_bounded(
    database: Database, filled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Random(9)  # noqa: S311 - a test
    async with remembering(database, capacity=15_000) as (cache, _):  # for one of the two
        for _ in range(20):
            await both(database, cache, [drawn(draw), drawn(draw)], draw)
            assert cache.size <= cache.capacity
        assert cache.size > 0
    async with remembering(database, capacity=0) as (cache, _):
        assert [await asked(database, cache) for _ in range(3)] == [1, 1, 1]
        assert cache.size == 0
    monkeypatch.setattr(series_cache, "MOST_HOURS", 100)
    async with remembering(database) as (cache, _):
        # found to be too long the second time, and not tried again
        assert [await asked(database, cache) for _ in range(4)] == [1, 2, 1, 1]
        assert cache.size == 0
