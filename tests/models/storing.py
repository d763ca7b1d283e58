"""Prices for tests of storing, and what should become of them, worked out in plain Python."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import numpy as np

from models.postgres.database import Database
from models.prices.hours import Hours
from models.prices.write_latest import NewestPrice
from models.prices.write_series import Stored, store_series
from tests.recomputed import day_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sample:
    """One hour's sample, `late` seconds past the hour."""

    price: float
    cap: float | None = None
    volume: float | None = None
    late: float = 270.0


def hours_of(samples: Mapping[datetime, Sample | float]) -> Hours:
    """Make the arrays of these samples by hour."""
    made = {at: s if isinstance(s, Sample) else Sample(s) for at, s in sorted(samples.items())}

    def micros(moment: datetime) -> int:
        return (moment - EPOCH) // timedelta(microseconds=1)

    def numbers(values: Sequence[float | None]) -> Any:
        return np.array([math.nan if value is None else value for value in values], np.float64)

    late = [micros(at + timedelta(seconds=sample.late)) for at, sample in made.items()]
    return Hours(
        bucket=np.array([micros(at) for at in made], np.int64),
        observed_at=np.array(late, np.int64),
        price=numbers([sample.price for sample in made.values()]),
        market_cap=numbers([sample.cap for sample in made.values()]),
        volume=numbers([sample.volume for sample in made.values()]),
    )


def run_of_hours(start: datetime, prices: Sequence[float]) -> dict[datetime, Sample | float]:
    """One price after the other, an hour apart."""
    return {start + number * HOUR: price for number, price in enumerate(prices)}


async def store(
    database: Database,
    series: int,
    samples: Mapping[datetime, Sample | float],
    *,
    asked_from: datetime = LONG_AGO,
    replace_from: datetime | None = None,
    newest: NewestPrice | None = None,
) -> Stored:
    async with database.write() as session:
        return await store_series(
            session,
            series,
            hours_of(samples),
            newest,
            asked_from=asked_from,
            replace_from=replace_from,
        )


async def hours_in(sql: asyncpg.Connection, series: int) -> dict[datetime, tuple[Any, ...]]:
    """Price, market cap and volume by hour."""
    rows = await sql.fetch("SELECT * FROM price_hourly WHERE series_id = $1 ORDER BY 2", series)
    return {row["bucket"]: (row["price"], row["market_cap"], row["volume"]) for row in rows}


async def days_in(sql: asyncpg.Connection, series: int) -> dict[date, tuple[Any, ...]]:
    """Mean, open, high, low, close, market cap, volume, samples by day."""
    rows = await sql.fetch("SELECT * FROM price_daily WHERE series_id = $1 ORDER BY 2", series)
    return {row["day"]: tuple(row)[2:] for row in rows}


def days_of(samples: Mapping[datetime, Sample | float]) -> dict[date, tuple[Any, ...]]:
    """What `days_in` should give; the mean within the 12th digit."""
    by_day: dict[date, list[tuple[float, float | None, float | None]]] = {}
    for at, sample in sorted(samples.items()):
        made = sample if isinstance(sample, Sample) else Sample(sample)
        by_day.setdefault(at.date(), []).append((made.price, made.cap, made.volume))
    return {day: day_of(hours) for day, hours in by_day.items()}


async def versions(sql: asyncpg.Connection, table: str) -> list[str]:
    """Return the transactions that wrote the rows: equal lists mean no write in between."""
    rows = await sql.fetch(f"SELECT xmin::text || ctid::text AS version FROM {table}")  # noqa: S608 - a test's own name
    return sorted(row["version"] for row in rows)


async def revision(sql: asyncpg.Connection, series: int) -> int:
    found: int = await sql.fetchval("SELECT revision FROM series WHERE id = $1", series)
    return found
