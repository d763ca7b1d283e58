"""Upstream's daily points: days before the hourly history, and nothing but those."""

import asyncio
import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from models.postgres.database import Database
from models.prices.write_series import store_daily
from tests.models.storing import (
    DAY,
    HOUR,
    NOON,
    Sample,
    days_in,
    days_of,
    hours_of,
    revision,
    run_of_hours,
    store,
    versions,
)

MIDNIGHT = NOON - 12 * HOUR
YEAR_AGO = MIDNIGHT - 365 * DAY


def midnights(prices: Mapping[int, float], **more: Any) -> dict[datetime, Sample | float]:
    """Daily points at these days after MIDNIGHT."""
    return {MIDNIGHT + day * DAY: Sample(price, late=0.0, **more) for day, price in prices.items()}


async def store_points(
    database: Database,
    series: int,
    points: Mapping[datetime, Sample | float],
    *,
    asked_from: datetime = YEAR_AGO,
    replace: bool = False,
) -> int:
    async with database.write() as session:
        new, _ = await store_daily(
            session, series, hours_of(points), asked_from=asked_from, replace=replace
        )
        return new


def point(price: float, cap: float | None = None, volume: float | None = None) -> tuple[Any, ...]:
    return (price, price, price, price, price, cap, volume, 1)


async def test_days_before_the_hours_have_one_sample_and_say_so(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    hours = run_of_hours(NOON, [float(hour) for hour in range(36)])
    await store(database, series, hours, asked_from=NOON)
    points = midnights({-2: 7.0, -1: 1e-12, 0: 8.0, 1: 9.0}, cap=5.0)
    assert await store_points(database, series, points) == 3
    # the day that the hours begin within is known at its start alone; the next is made of hours
    assert await days_in(sql, series) == {
        date(2026, 2, 27): point(7.0, 5.0),
        date(2026, 2, 28): point(1e-12, 5.0),
        date(2026, 3, 1): point(8.0, 5.0),
        date(2026, 3, 2): days_of(hours)[date(2026, 3, 2)],
    }
    known = await sql.fetchrow("SELECT * FROM series WHERE id = $1", series)
    assert known is not None
    assert (known["history_from"], known["daily_from"]) == (NOON, YEAR_AGO)
    assert known["first_bucket"] == NOON


async def test_days_made_of_hours_replace_them(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await store(database, series, run_of_hours(NOON, [1.0, 2.0]), asked_from=NOON)
    await store_points(database, series, midnights({-3: 7.0, -2: 7.5, -1: 8.0, 0: 9.0}))
    earlier = run_of_hours(MIDNIGHT - 30 * HOUR, [5.0] * 42)
    await store(database, series, earlier, asked_from=MIDNIGHT - 30 * HOUR)
    made = days_of(earlier | run_of_hours(NOON, [1.0, 2.0]))
    assert await days_in(sql, series) == {
        date(2026, 2, 26): point(7.0),
        date(2026, 2, 27): point(7.5),  # cut in two by the start of the hours now
        date(2026, 2, 28): made[date(2026, 2, 28)],
        date(2026, 3, 1): made[date(2026, 3, 1)],
    }
    # and never the other way round, not even by a rebuild
    before = await versions(sql, "price_daily")
    again = midnights({-3: 7.0, -2: 7.5, -1: 100.0, 0: 100.0})
    assert await store_points(database, series, again, replace=True) == 0
    assert await versions(sql, "price_daily") == before


async def test_storing_hours_leaves_the_days_before_alone(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    hours = run_of_hours(NOON, [1.0, 2.0, 3.0])
    await store(database, series, hours, asked_from=NOON)
    points = midnights({-1: 8.0, 0: 9.0})
    await store_points(database, series, points)
    for replace_from in (None, NOON):
        await store(
            database, series, run_of_hours(NOON, [4.0]), asked_from=NOON, replace_from=replace_from
        )
        assert await days_in(sql, series) == {
            date(2026, 2, 28): point(8.0),
            date(2026, 3, 1): point(9.0),
        }


async def test_a_rebuild_replaces_them(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await store(database, series, run_of_hours(NOON, [1.0]), asked_from=NOON)
    await store_points(database, series, midnights({-400: 1.0, -3: 7.0, -2: 8.0, -1: 9.0}))
    changed = midnights({-3: 7.0, -1: 9.5})
    await store_points(database, series, changed)
    kept = {date(2025, 1, 25): point(1.0), date(2026, 2, 26): point(7.0)}
    last = {date(2026, 2, 28): point(9.5)}
    assert await days_in(sql, series) == kept | last | {date(2026, 2, 27): point(8.0)}
    # what upstream has no more goes, but not what it was not asked for, nor everything
    await store_points(database, series, {}, replace=True)
    assert len(await days_in(sql, series)) == 4
    await store_points(database, series, changed, replace=True)
    assert await days_in(sql, series) == kept | last


async def test_each_change_is_notified_once(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    received: asyncio.Queue[str] = asyncio.Queue()
    await sql.add_listener("coingraph_prices", lambda *args: received.put_nowait(args[-1]))
    await store(database, series, run_of_hours(NOON, [1.0]), asked_from=NOON)
    points = midnights({-2: 7.0, -1: 8.0})
    for number in range(2):
        assert await store_points(database, series, points) == (2, 0)[number]
        assert await revision(sql, series) == 2
    await store_points(database, series, points | midnights({-2: 7.1}))
    heard = [json.loads(await asyncio.wait_for(received.get(), 60)) for _ in range(3)]
    numbers = [(each["series"], each["revision"], each["deployment"]) for each in heard]
    assert numbers == [(series, number, number) for number in (1, 2, 3)]
    assert received.empty()


async def test_days_without_any_hour_have_their_daily_point(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    points = midnights({-2: 7.0, -1: 8.0, 1: 9.0})
    assert await store_points(database, series, points) == 3
    later = NOON + 2 * DAY
    await store(database, series, run_of_hours(NOON, [1.0]), asked_from=NOON - 2 * DAY)
    await store(database, series, run_of_hours(later, [2.0]), asked_from=NOON - 2 * DAY)
    # the hours begin on that day, or two days before it: a gap in them is no reason for none
    assert await store_points(database, series, points | midnights({0: 5.0, 2: 6.0})) == 0
    days = await days_in(sql, series)
    assert {day: row[0] for day, row in days.items()} == {
        date(2026, 2, 27): 7.0,
        date(2026, 2, 28): 8.0,
        NOON.date(): 1.0,
        date(2026, 3, 2): 9.0,
        later.date(): 2.0,
    }
    await store(database, series, run_of_hours(NOON + DAY, [4.0, 5.0]), asked_from=NOON - DAY)
    assert (await days_in(sql, series))[date(2026, 3, 2)][0] == 4.5


async def test_how_far_back_was_asked_only_grows(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    for asked, known in ((NOON, NOON), (NOON + DAY, NOON), (YEAR_AGO, YEAR_AGO)):
        await store_points(database, series, {}, asked_from=asked)
        found = await sql.fetchval("SELECT daily_from FROM series WHERE id = $1", series)
        assert found == known
    assert timedelta(days=365) == MIDNIGHT - YEAR_AGO
