"""Days: always what their hours say, and only of days that are known whole."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import asyncpg
import pytest

from models.postgres.database import Database
from models.prices.write_series import Stored
from tests.models.storing import (
    DAY,
    HOUR,
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

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


async def test_days_are_what_statistics_says(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    draw = Random(1)  # noqa: S311 - a test
    samples: dict[datetime, Sample | float] = {
        MIDNIGHT + hour * HOUR: Sample(
            draw.lognormvariate(0, 3),
            draw.choice([None, draw.random()]),
            draw.choice([None, draw.random()]) if hour > 30 else None,
        )
        for hour in range(24 * 9)
        if draw.random() > 0.1
    }
    await store(database, series, samples)
    assert await days_in(sql, series) == days_of(samples)
    # corrections, and hours that come later, in the middle of days that are there
    changes: dict[datetime, Sample | float] = {
        at: Sample(draw.random(), 5.0, None)
        for at in (MIDNIGHT + hour * HOUR for hour in range(24 * 9))
        if draw.random() > 0.8
    }
    await store(database, series, changes)
    stored = await hours_in(sql, series)
    now = {at: Sample(*row) for at, row in stored.items()}
    assert now.keys() == samples.keys() | changes.keys()
    assert await days_in(sql, series) == days_of(now)


async def test_a_day_begins_at_midnight_utc_whatever_the_server_thinks(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f"ALTER DATABASE {name} SET timezone = 'Pacific/Auckland'")
    await store(database, series, run_of_hours(MIDNIGHT - HOUR, [1.0, 2.0, 4.0]))
    assert {day: row[0] for day, row in (await days_in(sql, series)).items()} == {
        date(2026, 2, 28): 1.0,
        date(2026, 3, 1): 3.0,
    }


async def test_extreme_prices_have_a_mean(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    samples = run_of_hours(MIDNIGHT, [1e100] * 12 + [1e-100] * 12)
    samples |= run_of_hours(MIDNIGHT + DAY, [1e-100] * 24)
    samples |= run_of_hours(MIDNIGHT + 2 * DAY, [0.0] * 24)
    await store(database, series, samples)
    assert await days_in(sql, series) == days_of(samples)


async def test_a_day_cut_by_the_start_of_history_has_no_row_until_it_is_whole(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    samples = run_of_hours(NOON, [float(hour) for hour in range(36)])
    await store(database, series, samples, asked_from=NOON)
    assert list(await days_in(sql, series)) == [date(2026, 3, 2)]
    early = run_of_hours(MIDNIGHT - 6 * HOUR, [100.0] * 18)
    stored = await store(database, series, early, asked_from=MIDNIGHT - 6 * HOUR)
    assert stored.revision == 2
    whole = samples | {at: price for at, price in early.items() if at >= MIDNIGHT}
    assert await days_in(sql, series) == days_of(whole)
    assert (await days_in(sql, series))[date(2026, 3, 1)][7] == 24


async def test_a_day_that_becomes_whole_without_a_new_hour_is_a_change(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    """The coin was listed at noon: before that there is nothing, but now we know."""
    samples = run_of_hours(NOON, [1.0, 2.0])
    await store(database, series, samples, asked_from=NOON)
    assert await days_in(sql, series) == {}
    assert await store(database, series, {}, asked_from=MIDNIGHT) == Stored(0, 0, 0, revision=2)
    assert await days_in(sql, series) == days_of(samples)
    before = await versions(sql, "price_daily")
    assert (await store(database, series, {}, asked_from=MIDNIGHT - DAY)).revision == 2
    assert await versions(sql, "price_daily") == before


async def test_history_only_grows(database: Database, sql: asyncpg.Connection, series: int) -> None:
    query = "SELECT history_from FROM series WHERE id = $1"
    for asked, known in ((NOON, NOON), (NOON + DAY, NOON), (NOON - DAY, NOON - DAY)):
        await store(database, series, {}, asked_from=asked)
        assert await sql.fetchval(query, series) == known


async def test_a_rebuild_replaces_from_its_start_on_and_nothing_older(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    start = MIDNIGHT + 3 * DAY
    samples = run_of_hours(MIDNIGHT, [float(hour) for hour in range(24 * 7)])
    await store(database, series, samples)
    old = await sql.fetch("SELECT xmin, * FROM price_hourly WHERE bucket < $1 ORDER BY 3", start)
    # day 3 keeps one hour, day 4 none, day 5 all but with another price, day 6 as it was
    rebuilt = {at: price for at, price in samples.items() if at >= start + 3 * DAY}
    rebuilt[start] = 72.0
    rebuilt |= dict.fromkeys((start + 2 * DAY + hour * HOUR for hour in range(24)), 9.5)
    stored = await store(database, series, rebuilt, replace_from=start)
    assert stored == Stored(inserted=0, corrected=24, removed=23 + 24, revision=2)
    expected = {at: price for at, price in samples.items() if at < start} | rebuilt
    assert {at: row[0] for at, row in (await hours_in(sql, series)).items()} == expected
    assert await days_in(sql, series) == days_of(expected)
    assert date(2026, 3, 5) not in await days_in(sql, series)
    assert (
        await sql.fetch("SELECT xmin, * FROM price_hourly WHERE bucket < $1 ORDER BY 3", start)
        == old
    )
    assert await store(database, series, rebuilt, replace_from=start) == Stored(0, 0, 0, 2)


async def test_a_rebuild_can_take_the_last_hour(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    await store(database, series, run_of_hours(NOON, [1.0, 2.0]))
    await store(database, other_series, run_of_hours(NOON, [1.0, 2.0]))
    assert await store(database, series, {}, replace_from=NOON) == Stored(0, 0, 2, revision=2)
    row = await sql.fetchrow("SELECT first_bucket, last_bucket FROM series WHERE id = $1", series)
    assert row is not None
    assert tuple(row) == (None, None)
    assert await days_in(sql, series) == {}
    assert len(await hours_in(sql, other_series)) == 2
    assert await revision(sql, other_series) == 1


@pytest.mark.parametrize("edge", [timedelta(0), timedelta(seconds=-1), timedelta(seconds=1)])
async def test_midnight_is_the_edge_of_history(
    database: Database, sql: asyncpg.Connection, series: int, edge: timedelta
) -> None:
    samples = run_of_hours(MIDNIGHT + HOUR, [1.0, 2.0])
    await store(database, series, samples, asked_from=MIDNIGHT + edge)
    assert len(await days_in(sql, series)) == (1 if edge <= timedelta(0) else 0)
