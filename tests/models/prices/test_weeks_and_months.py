"""Weeks and months where daily points and days made of hours meet; days that a rebuild repairs."""

from datetime import UTC, datetime, timedelta
from statistics import fmean

import asyncpg
import pytest

from models.postgres.database import Database
from models.prices.granularity import Granularity
from models.prices.read import PriceWindow, read_windows
from models.prices.write_series import store_daily
from tests.models.storing import DAY, HOUR, Sample, hours_of, store

START = datetime(2026, 3, 18, tzinfo=UTC)  # a Wednesday
FIRST = datetime(2026, 2, 1, tzinfo=UTC)
END = datetime(2026, 4, 1, tzinfo=UTC)


async def fill(database: Database, series: int) -> dict[datetime, list[float]]:
    """Daily points up to START, hours from then on; the prices of each day."""
    hours = {START + n * HOUR: 100.0 + n for n in range(14 * 24) if n % 5}
    await store(database, series, dict(hours), asked_from=START)
    points = {FIRST + n * DAY: Sample(10.0 + n, late=0) for n in range((START - FIRST) // DAY)}
    async with database.write() as session:
        await store_daily(session, series, hours_of(points), asked_from=FIRST, replace=False)
    days = {at: [sample.price] for at, sample in points.items()}
    for at, price in hours.items():
        days.setdefault(at.replace(hour=0), []).append(price)
    return days


@pytest.mark.parametrize("granularity", [Granularity.WEEK, Granularity.MONTH])
async def test_a_day_of_one_price_weighs_as_a_whole_day(
    database: Database, series: int, granularity: Granularity
) -> None:
    days = await fill(database, series)
    [found] = await read_windows(
        database, granularity, [PriceWindow("bitcoin", "usd", FIRST, END, 100)]
    )
    assert found is not None
    columns, mixed = found.columns, 0
    for naive, price in zip(columns.timestamps.tolist(), columns.prices.tolist(), strict=True):
        start = naive.replace(tzinfo=UTC)
        end = (
            start + timedelta(days=7)
            if granularity is Granularity.WEEK
            else (start + timedelta(days=31)).replace(day=1)
        )
        inside = {at: prices for at, prices in days.items() if start <= at < end}
        mixed += min(inside) < START <= max(inside)
        weighed = [
            each for at, prices in inside.items() for each in prices * (24 if at < START else 1)
        ]
        assert price == pytest.approx(fmean(weighed), rel=1e-12)
    assert mixed == 1


async def test_a_rebuild_repairs_days(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await fill(database, series)
    query = "SELECT * FROM price_daily WHERE day >= '2026-03-18' ORDER BY day"
    before = await sql.fetch(query)
    await sql.execute("DELETE FROM price_daily WHERE day = '2026-03-20'")
    await sql.execute("UPDATE price_daily SET price = 1e300 WHERE day = '2026-03-22'")
    await sql.execute(
        "INSERT INTO price_daily SELECT $1, '2026-05-01', 1, 1, 1, 1, 1, 1, 1, 1", series
    )
    hours = {START + n * HOUR: 100.0 + n for n in range(14 * 24) if n % 5}
    await store(database, series, dict(hours), asked_from=START, replace_from=START)
    assert await sql.fetch(query) == before


@pytest.mark.slow
@pytest.mark.parametrize("granularity", [Granularity.DAY, Granularity.WEEK, Granularity.MONTH])
async def test_the_mean_of_the_largest_prices_there_are(
    database: Database, series: int, granularity: Granularity
) -> None:
    """Their sum is no number, their mean is one."""
    prices = {START + n * HOUR: 1.7e308 - n % 2 * 1e307 for n in range(14 * 24)}
    await store(database, series, prices, asked_from=START)
    [found] = await read_windows(
        database, granularity, [PriceWindow("bitcoin", "usd", FIRST, END, 100)]
    )
    assert found is not None
    assert found.columns.prices.tolist() == pytest.approx(
        [1.65e308] * len(found.columns), rel=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("granularity", [Granularity.DAY, Granularity.WEEK, Granularity.MONTH])
@pytest.mark.parametrize("price", [1e307, 1.7e308])
async def test_the_mean_of_the_largest_daily_points_there_are(
    database: Database, series: int, granularity: Granularity, price: float
) -> None:
    await store(database, series, {END: price}, asked_from=END)
    points = {FIRST + n * DAY: Sample(price, late=0) for n in range((END - FIRST) // DAY)}
    async with database.write() as session:
        await store_daily(session, series, hours_of(points), asked_from=FIRST, replace=False)
    [found] = await read_windows(
        database, granularity, [PriceWindow("bitcoin", "usd", FIRST, END, 100)]
    )
    assert found is not None
    assert set(found.columns.prices.tolist()) == {price}
    assert len(found.columns) >= 2
