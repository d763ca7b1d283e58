"""Reading price series as columns: one statement, one binary column each, however many series."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt

from models.database import ReadSession

Times = npt.NDArray[np.datetime64]  # microseconds, UTC
Numbers = npt.NDArray[np.float64]  # NaN where there is no value

_POSTGRES_EPOCH = np.datetime64("2000-01-01T00:00:00", "us")


class Granularity(StrEnum):
    """How long a bucket is."""

    HOUR = "HOUR"
    DAY = "DAY"

    @property
    def length(self) -> timedelta:
        return timedelta(hours=1) if self is Granularity.HOUR else timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PriceColumns:
    """The buckets of one series, all arrays of one length, in the order asked for.

    Hours have `observed_at` and no open, high, low, close; days have these and no `observed_at`.
    `samples` counts the observations a bucket was made of.
    """

    timestamps: Times
    price: Numbers
    market_cap: Numbers
    volume: Numbers
    samples: npt.NDArray[np.int32]
    observed_at: Times | None = None
    open: Numbers | None = None
    high: Numbers | None = None
    low: Numbers | None = None
    close: Numbers | None = None

    def __len__(self) -> int:
        return len(self.timestamps)

    def head(self, count: int) -> "PriceColumns":
        """Give the first `count` buckets, as views."""
        return self.take(slice(count))

    def take(self, places: "slice | npt.NDArray[np.intp]") -> "PriceColumns":
        """Give the buckets at these places."""
        parts: dict[str, Any] = {
            field.name: None if (column := getattr(self, field.name)) is None else column[places]
            for field in fields(self)
        }
        return PriceColumns(**parts)


def _numbers(column: str) -> str:
    # string_agg passes over NULLs, which would shift all that follow: they travel as NaN
    return f"coalesce(string_agg(float8send(coalesce({column}, 'NaN')), ''), '')"


def _statement(table: str, start: str, columns: str, bucket: str, order: str) -> str:
    return f"""
        SELECT wanted.series_id, page.*
        FROM unnest($1::int[]) AS wanted (series_id)
        CROSS JOIN LATERAL (
            SELECT {columns}
            FROM (
                SELECT *, {start} AS start FROM {table}
                WHERE series_id = wanted.series_id AND {bucket} >= $2 AND {bucket} < $3
                ORDER BY {bucket} {order} LIMIT $4
            ) AS rows
        ) AS page
    """  # noqa: S608 - built from the constants of this module alone


_DAY_NUMBERS = ("price", "market_cap", "volume", "open", "high", "low", "close")
_SHARED = f"""
    coalesce(string_agg(timestamptz_send(start), ''), '') AS timestamps,
    {_numbers("price")} AS price,
    {_numbers("market_cap")} AS market_cap,
    {_numbers("volume")} AS volume
"""
_HOUR_COLUMNS = f"""{_SHARED},
    coalesce(string_agg(timestamptz_send(observed_at), ''), '') AS observed_at
"""
_DAY_COLUMNS = f"""{_SHARED},
    {_numbers("open")} AS open, {_numbers("high")} AS high,
    {_numbers("low")} AS low, {_numbers("close")} AS close,
    coalesce(string_agg(int4send(samples), ''), '') AS samples
"""
_STATEMENTS = {
    (Granularity.HOUR, descending): _statement(
        "price_hourly", "bucket", _HOUR_COLUMNS, "bucket", order
    )
    for descending, order in ((False, "ASC"), (True, "DESC"))
} | {
    (Granularity.DAY, descending): _statement(
        "price_daily", "day::timestamp AT TIME ZONE 'UTC'", _DAY_COLUMNS, "day", order
    )
    for descending, order in ((False, "ASC"), (True, "DESC"))
}


async def price_columns(
    session: ReadSession,
    granularity: Granularity,
    series_ids: Sequence[int],
    start: datetime,
    end: datetime,
    *,
    descending: bool = False,
    limit: int | None = None,
) -> dict[int, PriceColumns]:
    """Read the buckets that begin in [start, end) of each series, at most `limit` of each."""
    lower, upper = (
        (start, end)
        if granularity is Granularity.HOUR
        else (_first_day_from(start), _first_day_from(end))
    )
    driver = await session.driver()
    statement = _STATEMENTS[granularity, descending]
    rows = await driver.fetch(statement, list(series_ids), lower, upper, limit)
    decode = _hours if granularity is Granularity.HOUR else _days
    return {row["series_id"]: decode(row) for row in rows}


def _first_day_from(instant: datetime) -> date:
    """Name the first UTC day whose midnight is not before `instant`."""
    instant = instant.astimezone(UTC)
    if instant.date() == date.max:  # no day comes after it
        return date.max
    return instant.date() + timedelta(days=instant.time() != time.min)


def _hours(row: asyncpg.Record) -> PriceColumns:
    return PriceColumns(
        timestamps=_decode_times(row["timestamps"]),
        observed_at=_decode_times(row["observed_at"]),
        price=_decode_numbers(row["price"]),
        market_cap=_decode_numbers(row["market_cap"]),
        volume=_decode_numbers(row["volume"]),
        samples=np.ones(len(row["price"]) // 8, dtype=np.int32),
    )


def _days(row: asyncpg.Record) -> PriceColumns:
    numbers: dict[str, Any] = {name: _decode_numbers(row[name]) for name in _DAY_NUMBERS}
    return PriceColumns(
        timestamps=_decode_times(row["timestamps"]),
        **numbers,
        samples=np.frombuffer(row["samples"], dtype=">i4").astype(np.int32),
    )


def _decode_numbers(column: bytes) -> Numbers:
    return np.frombuffer(column, dtype=">f8").astype(np.float64)


def _decode_times(column: bytes) -> Times:
    micros = np.frombuffer(column, dtype=">i8").astype(np.int64)
    return _POSTGRES_EPOCH + micros.astype("timedelta64[us]")
