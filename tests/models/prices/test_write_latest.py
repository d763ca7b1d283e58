"""The newest price of a series: it only moves forward."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from models.postgres.database import Database
from models.prices.write_latest import NewestPrice, store_quotes
from tests.models.storing import DAY, HOUR, NOON, Sample, revision, run_of_hours, store, versions

SECOND = timedelta(seconds=1)


async def quote(database: Database, *newest: NewestPrice) -> int:
    async with database.write() as session:
        return await store_quotes(session, list(newest))


async def latest(sql: asyncpg.Connection, series: int) -> tuple[Any, ...] | None:
    row = await sql.fetchrow("SELECT * FROM price_latest WHERE series_id = $1", series)
    return None if row is None else tuple(row)[1:]


async def test_a_quote_is_kept_as_it_is(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    first = NewestPrice(series, NOON, 1.5, 2.5, None, -3.25)
    second = NewestPrice(other_series, NOON + SECOND, 1e-12, None, 1e12, None)
    assert await quote(database, first, second) == 2
    assert await latest(sql, series) == (NOON, 1.5, 2.5, None, -3.25)
    assert await latest(sql, other_series) == (NOON + SECOND, 1e-12, None, 1e12, None)
    assert [await revision(sql, each) for each in (series, other_series)] == [1, 1]


async def test_it_only_moves_forward(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    kept = NewestPrice(series, NOON, 1.0, 2.0, 3.0, 4.0)
    await quote(database, kept)
    before = await versions(sql, "price_latest")
    assert await quote(database, kept) == 0
    assert await quote(database, replace(kept, observed_at=NOON - SECOND, price=9.0)) == 0
    assert await versions(sql, "price_latest") == before
    assert await revision(sql, series) == 1
    newer = replace(kept, observed_at=NOON + SECOND, market_cap=None)
    assert await quote(database, newer, NewestPrice(other_series, NOON, 1.0, None, None)) == 2
    assert await latest(sql, series) == (NOON + SECOND, 1.0, None, 3.0, 4.0)
    assert await revision(sql, series) == 2


async def test_the_same_observation_can_be_corrected_but_loses_nothing(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await quote(database, NewestPrice(series, NOON, 1.0, None, 3.0, 4.0))
    assert await quote(database, NewestPrice(series, NOON, 1.0, None, None, 4.0)) == 0
    assert await quote(database, NewestPrice(series, NOON, 1.0, 2.0, None, 4.0)) == 1
    assert await latest(sql, series) == (NOON, 1.0, 2.0, 3.0, 4.0)
    assert await quote(database, NewestPrice(series, NOON, 1.25, None, None, 4.5)) == 1
    assert await latest(sql, series) == (NOON, 1.25, 2.0, 3.0, 4.5)


@pytest.mark.parametrize(
    ("past", "price", "change"), [(2.0, 3.0, 50.0), (4.0, 3.0, -25.0), (0.0, 3.0, None)]
)
async def test_the_change_is_worked_out_from_the_hour_a_day_before(
    database: Database,
    sql: asyncpg.Connection,
    series: int,
    past: float,
    price: float,
    change: float | None,
) -> None:
    now = NOON + 17 * timedelta(minutes=1)
    hours = run_of_hours(NOON - DAY - HOUR, [77.0, past, 88.0])
    stored = await store(
        database, series, hours, newest=NewestPrice(series, now, price, None, None)
    )
    assert await latest(sql, series) == (now, price, None, None, change)
    assert stored.revision == await revision(sql, series) == 1


async def test_the_hour_a_day_before_is_utcs(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kolkata'")  # off by half an hour
    newest = NewestPrice(series, NOON + timedelta(minutes=10), 3.0, None, None)
    await store(database, series, {NOON - DAY: Sample(2.0)}, newest=newest)
    assert (await latest(sql, series) or ())[-1] == 50.0


async def test_no_hour_a_day_before_no_change(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    hours = {NOON - DAY - HOUR: Sample(1.0), NOON - DAY + HOUR: Sample(1.0)}
    await store(database, series, hours, newest=NewestPrice(series, NOON, 2.0, None, None))
    assert await latest(sql, series) == (NOON, 2.0, None, None, None)


async def test_extreme_changes_do_not_overflow(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    for each, (past, price) in {series: (1e-100, 1e100), other_series: (1e100, 1e-100)}.items():
        newest = NewestPrice(each, NOON, price, None, None)
        await store(database, each, {NOON - DAY: past}, newest=newest)
    changes = [(await latest(sql, each) or ())[-1] for each in (series, other_series)]
    assert changes == pytest.approx([1e202, -100.0])


async def test_nothing_to_quote_is_nothing(database: Database) -> None:
    assert await quote(database) == 0


async def test_only_the_newest_price_may_change(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    hours = run_of_hours(NOON, [1.0])
    await store(database, series, hours, newest=NewestPrice(series, NOON, 1.0, None, None))
    stored = await store(
        database, series, hours, newest=NewestPrice(series, NOON + SECOND, 1.1, None, None)
    )
    assert (stored.inserted, stored.corrected, stored.revision) == (0, 0, 2)


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), timedelta(hours=20), timedelta(days=9999)])
async def test_one_from_the_future_gives_way_to_any_other(
    database: Database, sql: asyncpg.Connection, series: int, ahead: timedelta
) -> None:
    """Upstream's clock was ahead when an earlier version stored it, or ours has jumped back."""
    now = datetime.now(UTC)
    await quote(database, NewestPrice(series, now + ahead, 666.0, None, None))
    assert await quote(database, NewestPrice(series, now - HOUR, 1.0, None, None)) == 1
    assert await latest(sql, series) == (now - HOUR, 1.0, None, None, None)
    # from here on, it moves forward only, also by what is minutes ahead
    assert await quote(database, NewestPrice(series, now - DAY, 2.0, None, None)) == 0
    assert (
        await quote(database, NewestPrice(series, now + timedelta(minutes=4), 3.0, None, None)) == 1
    )
    assert await quote(database, NewestPrice(series, now, 4.0, None, None)) == 0
