"""Live prices: newest prices, and an hour and a day until a chart brings them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from models.postgres.database import Database
from models.prices.write_latest import NewestPrice
from models.prices.write_live import store_live
from tests.models.storing import (
    DAY,
    HOUR,
    LONG_AGO,
    NOON,
    Sample,
    days_in,
    days_of,
    hours_in,
    revision,
    run_of_hours,
    store,
    versions,
)

MINUTE = timedelta(minutes=1)
TABLES = ("price_latest", "price_hourly", "price_daily", "series")


async def live(database: Database, *quotes: NewestPrice, hour: datetime = NOON) -> int:
    async with database.write() as session:
        return await store_live(session, list(quotes), hour)


async def observed(sql: asyncpg.Connection, series: int) -> dict[datetime, datetime]:
    rows = await sql.fetch("SELECT * FROM price_hourly WHERE series_id = $1", series)
    return {row["bucket"]: row["observed_at"] for row in rows}


async def edges(sql: asyncpg.Connection, series: int) -> tuple[Any, ...]:
    row = await sql.fetchrow(
        "SELECT first_bucket, last_bucket, charted_to, history_from FROM series WHERE id = $1",
        series,
    )
    assert row is not None
    return tuple(row)


async def everything(sql: asyncpg.Connection) -> dict[str, list[str]]:
    return {table: await versions(sql, table) for table in TABLES}


async def test_the_running_hour_and_its_day(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    past = run_of_hours(NOON - 30 * HOUR, [float(number) for number in range(1, 31)])
    await store(database, series, past)
    seen = NewestPrice(series, NOON + 7 * MINUTE, 77.5, 2.0, None, 1.0)
    assert await live(database, seen) == 1
    expected = {**past, NOON: Sample(77.5, 2.0)}
    assert await hours_in(sql, series) == {
        at: (s.price, s.cap, s.volume) if isinstance(s, Sample) else (s, None, None)
        for at, s in expected.items()
    }
    assert (await observed(sql, series))[NOON] == NOON + 7 * MINUTE
    assert await days_in(sql, series) == days_of(expected)
    assert await edges(sql, series) == (NOON - 30 * HOUR, NOON, NOON - HOUR, LONG_AGO)
    assert await revision(sql, series) == 2


async def test_only_the_first_of_an_hour_is_its_sample(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await store(database, series, {NOON - HOUR: 1.0})
    first = NewestPrice(series, NOON + MINUTE, 2.0, None, None, 1.0)
    later = NewestPrice(series, NOON + 2 * MINUTE, 3.0, None, None, 1.0)
    assert await live(database, first) == 1
    assert await live(database, later) == 1
    assert (await hours_in(sql, series))[NOON] == (2.0, None, None)
    newest = await sql.fetchval("SELECT price FROM price_latest WHERE series_id = $1", series)
    assert newest == 3.0
    assert await days_in(sql, series) == days_of({NOON - HOUR: 1.0, NOON: 2.0})


async def test_what_is_known_is_not_written_again(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    await store(database, series, {NOON - HOUR: 1.0})
    quotes = [
        NewestPrice(each, NOON + MINUTE, 2.0, 3.0, 4.0, 5.0) for each in (other_series, series)
    ]
    assert await live(database, *quotes) == 2
    before = await everything(sql)
    assert await live(database, *quotes) == 0
    older = [replace(quote, observed_at=NOON, price=9.0) for quote in quotes]
    assert await live(database, *older) == 0
    assert await everything(sql) == before
    # one of them moves: the other is not touched
    moved = replace(quotes[0], observed_at=NOON + 2 * MINUTE)
    assert await live(database, moved, quotes[1]) == 1
    assert [await revision(sql, each) for each in (other_series, series)] == [2, 2]


async def test_a_series_without_history_gets_no_hour(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    assert await live(database, NewestPrice(series, NOON + MINUTE, 2.0, None, None, 1.0)) == 1
    assert await hours_in(sql, series) == {}
    assert await days_in(sql, series) == {}
    assert await edges(sql, series) == (None, None, None, None)


@pytest.mark.parametrize("at", [NOON - timedelta.resolution, NOON + HOUR])
async def test_what_was_observed_in_another_hour_is_no_sample(
    database: Database, sql: asyncpg.Connection, series: int, at: datetime
) -> None:
    await store(database, series, {NOON - 3 * HOUR: 1.0})
    assert await live(database, NewestPrice(series, at, 2.0, None, None, 1.0)) == 1
    assert set(await hours_in(sql, series)) == {NOON - 3 * HOUR}


async def test_a_chart_replaces_it_and_counts_it_as_new(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    past: dict[datetime, Sample | float] = {NOON - HOUR: 1.0}
    await store(database, series, past)
    await live(database, NewestPrice(series, NOON + MINUTE, 2.0, None, None, 1.0))
    await live(
        database, NewestPrice(series, NOON + HOUR + MINUTE, 3.0, None, None, 1.0), hour=NOON + HOUR
    )
    # the chart knows of the first live hour, later and otherwise, and not of the second
    stored = await store(database, series, {**past, NOON: Sample(2.5, late=600)})
    assert (stored.inserted, stored.corrected, stored.removed) == (1, 0, 0)
    hours = {NOON - HOUR: 1.0, NOON: 2.5, NOON + HOUR: 3.0}
    assert {at: hour[0] for at, hour in (await hours_in(sql, series)).items()} == hours
    assert await days_in(sql, series) == days_of(hours)
    assert (await edges(sql, series))[1:3] == (NOON + HOUR, NOON)
    # from now on it is history: another value is a correction
    stored = await store(database, series, {NOON: Sample(2.75), NOON + HOUR: 3.0})
    assert (stored.inserted, stored.corrected) == (1, 1)


async def test_counts_are_those_of_a_run_without_live_prices(
    database: Database, series: int, other_series: int
) -> None:
    """Also where a chart says the very same of a live hour."""
    for each in (series, other_series):
        await store(database, each, {NOON - HOUR: 1.0})
    await live(database, NewestPrice(series, NOON + MINUTE, 2.0, None, None, 1.0))
    chart = {NOON - HOUR: Sample(1.5), NOON: Sample(2.0, late=60), NOON + HOUR: Sample(4.0)}
    found = [await store(database, each, chart) for each in (series, other_series)]
    assert [(each.inserted, each.corrected, each.removed) for each in found] == [(2, 1, 0)] * 2


async def test_a_rebuild_leaves_nothing_provisional(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await store(database, series, {NOON - HOUR: 1.0})
    await live(database, NewestPrice(series, NOON + MINUTE, 2.0, None, None, 1.0))
    await store(database, series, {NOON - HOUR: 1.0}, replace_from=LONG_AGO)
    assert await edges(sql, series) == (NOON - HOUR, NOON - HOUR, NOON - HOUR, LONG_AGO)
    assert await days_in(sql, series) == days_of({NOON - HOUR: 1.0})


async def test_the_day_that_the_history_begins_within_is_not_made_of_hours(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await store(database, series, {NOON - HOUR: 1.0}, asked_from=NOON - 2 * HOUR)
    await live(database, NewestPrice(series, NOON + MINUTE, 2.0, None, None, 1.0))
    assert set(await hours_in(sql, series)) == {NOON - HOUR, NOON}
    assert await days_in(sql, series) == {}


async def test_days_have_the_same_bits_as_a_charts(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    """Else the next chart would write the days of all series again."""
    prices = {
        series: [0.1 * n * n for n in range(1, 24)],
        other_series: [1 / n for n in range(7, 19)],
    }
    start = NOON.replace(hour=0)
    for each, values in prices.items():
        await store(database, each, run_of_hours(start - 2 * DAY, [5.0] * 40))
        await store(database, each, run_of_hours(start, values[:-1]))
        bucket = start + (len(values) - 1) * HOUR
        quote = NewestPrice(each, bucket + timedelta(seconds=270), values[-1], None, None, 1.0)
        await live(database, quote, hour=bucket)
    before = await everything(sql)
    for each, values in prices.items():
        stored = await store(database, each, run_of_hours(start, values))
        assert (stored.inserted, stored.corrected) == (1, 0)
    after = await everything(sql)
    assert [after[table] for table in TABLES[:3]] == [before[table] for table in TABLES[:3]]


async def test_many_series_take_few_statements(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await sql.execute(
        "INSERT INTO coin SELECT 'c' || n, 'c', 'c' FROM generate_series(1, 3000) AS n"
    )
    await sql.execute(
        "INSERT INTO series (coin_id, currency_code, history_from, first_bucket, last_bucket, "
        "charted_to) SELECT id, 'usd', $1, $1, $2, $2 FROM coin WHERE id <> 'bitcoin'",
        NOON - DAY,
        NOON - HOUR,
    )
    await sql.execute(
        "INSERT INTO price_hourly SELECT id, $1, $1, id / 7.0 FROM series WHERE id <> $2",
        NOON - HOUR,
        series,
    )
    ids = [row["id"] for row in await sql.fetch("SELECT id FROM series WHERE id <> $1", series)]
    quotes = [NewestPrice(each, NOON + MINUTE, each / 3.0, None, None, 1.0) for each in ids]
    async with database.write() as session:
        driver = await session.driver()
        asked: list[str] = []
        with driver.query_logger(lambda query: asked.append(query.query)):
            assert await store_live(session, quotes, NOON) == 3000
    assert len(asked) < 20  # some are asyncpg asking once for the types of arrays
    days = await sql.fetch("SELECT * FROM price_daily ORDER BY series_id")
    assert [row["price"] for row in days] == pytest.approx(
        [(each / 7.0 + each / 3.0) / 2 for each in sorted(ids)]
    )
