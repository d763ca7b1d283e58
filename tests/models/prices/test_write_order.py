"""The deployment's revision: in the order of commits, for all writers, and without deadlocks."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

import asyncpg
import pytest

from models.postgres.database import Database
from models.prices.write_latest import NewestPrice, store_quotes
from models.prices.write_series import store_daily, store_series
from models.series import changed_prices, deployment_revision
from tests.models.storing import DAY, LONG_AGO, NOON, Sample, hours_of, run_of_hours, store
from tests.quoting import PAIRS, add_series, quote


async def test_it_grows_with_each_transaction_that_changes_anything(
    database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_series(sql, PAIRS)
    one, two, *_ = ids.values()

    async def numbers() -> tuple[int, list[int]]:
        rows = await sql.fetch("SELECT deployment_revision FROM series ORDER BY id")
        return await deployment_revision(database), [row[0] for row in rows]

    assert await numbers() == (0, [0, 0, 0, 0])
    await store(database, one, run_of_hours(NOON, [1.0, 2.0]))
    assert await numbers() == (1, [1, 0, 0, 0])
    await store(database, one, run_of_hours(NOON, [1.0, 2.0]))  # nothing new
    early = LONG_AGO - DAY
    await store(database, one, run_of_hours(NOON, [1.0, 2.0]), asked_from=early)  # no price either
    assert await numbers() == (1, [1, 0, 0, 0])
    await quote(database, ids, dict.fromkeys(PAIRS[1:3], 1.0))  # one for both
    assert await numbers() == (2, [1, 2, 2, 0])
    points = hours_of({NOON.replace(hour=0) - 500 * DAY: Sample(1.0, late=0)})
    for _ in range(2):
        async with database.write() as session:
            await store_daily(session, two, points, asked_from=early, replace=False)
    assert await numbers() == (3, [1, 3, 2, 0])
    await store(database, one, {NOON: Sample(9.0)})
    assert await numbers() == (4, [4, 3, 2, 0])

    async def store_and_fail() -> None:
        async with database.write() as session:
            newest = [NewestPrice(two, NOON + 9 * DAY, 1.0, None, None)]
            assert await store_quotes(session, newest) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store_and_fail()
    assert await numbers() == (4, [4, 3, 2, 0])


async def test_a_later_revision_is_never_committed_first(
    database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_series(sql, PAIRS)
    async with database.write() as session:
        newest = [NewestPrice(ids[PAIRS[0]], NOON, 1.0, None, None)]
        await store_quotes(session, newest)
        later = asyncio.create_task(quote(database, ids, {PAIRS[1]: 2.0}))
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not await sql.fetchval(blocked):  # noqa: ASYNC110 - what PostgreSQL does
            await asyncio.sleep(0.01)
        assert await changed_prices(database, -1) == (0, [])
    await later
    revision, changed = await changed_prices(database, -1)
    assert revision == 2
    assert [(number, row.price) for number, row in changed] == [(1, 1.0), (2, 2.0)]
    assert [row.price for _, row in (await changed_prices(database, 1))[1]] == [2.0]
    assert await changed_prices(database, 2) == (2, [])


@dataclass(frozen=True)
class Writer:
    """Writes prices of every kind, at random."""

    ids: Sequence[int]
    draw: random.Random
    moments: Iterator[int] = field(default_factory=count)

    def newest(self, series_id: int) -> NewestPrice:
        moment = NOON + timedelta(seconds=next(self.moments))
        return NewestPrice(series_id, moment, self.draw.random(), None, None)

    async def hours(self, on: Database) -> None:
        start = NOON - self.draw.randint(0, 90) * DAY
        prices = [float(self.draw.randint(1, 3)) for _ in range(self.draw.randint(1, 30))]
        id_ = self.draw.choice(self.ids)
        async with on.write() as session:
            samples = hours_of(run_of_hours(start, prices))
            newest = self.newest(id_)
            await store_series(session, id_, samples, newest, asked_from=NOON - 90 * DAY)

    async def days(self, on: Database) -> None:
        day = (NOON - self.draw.randint(200, 300) * DAY).replace(hour=0)
        points = hours_of({day: Sample(self.draw.random(), late=0)})
        replace = self.draw.random() < 0.5
        async with on.write() as session:
            id_ = self.draw.choice(self.ids)
            await store_daily(session, id_, points, asked_from=day, replace=replace)

    async def quotes(self, on: Database) -> None:
        some = self.draw.sample(self.ids, self.draw.randint(1, len(self.ids)))  # in any order
        async with on.write() as session:
            await store_quotes(session, [self.newest(id_) for id_ in some])

    async def write(self, on: Database) -> None:
        for _ in range(40):
            await self.draw.choice((self.hours, self.days, self.quotes))(on)


@pytest.mark.slow
async def test_writers_of_all_kinds_on_the_same_series(
    database_url: str, database: Database, sql: asyncpg.Connection
) -> None:
    ids = list((await add_series(sql, PAIRS)).values())
    other = Database(database_url)
    writer = Writer(ids, random.Random(5))  # noqa: S311 - a test
    async with database.write() as session:  # a series of days alone has no price to show
        await store_quotes(session, [writer.newest(id_) for id_ in ids])
    writing = [asyncio.create_task(writer.write(on)) for on in (database, other) * 4]
    seen = []
    while not all(each.done() for each in writing):
        revision, changed = await changed_prices(database, -1)
        assert revision == max((number for number, _ in changed), default=0), "of one moment"
        seen.append(revision)
    await asyncio.gather(*writing)  # PostgreSQL ends a deadlock by failing one of them
    assert seen == sorted(seen)
    assert await deployment_revision(database) > 100
    await other.close()
