"""Reading price series as columns: one statement, one binary column each, however many series."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt

from models.database import Database
from models.series import SeriesFacts

Times = npt.NDArray[np.datetime64]  # microseconds, UTC
Numbers = npt.NDArray[np.float64]  # NaN where there is no value

NUMBERS = ("price", "market_cap", "volume", "open", "high", "low", "close")
ALL_COLUMNS = frozenset({*NUMBERS, "samples", "observed_at"})  # beside the timestamps

_POSTGRES_EPOCH = np.datetime64("2000-01-01T00:00:00", "us")


class Granularity(StrEnum):
    """How long a bucket is."""

    HOUR = "HOUR"
    DAY = "DAY"

    @property
    def length(self) -> timedelta:
        return timedelta(hours=1) if self is Granularity.HOUR else timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PriceWindow:
    """What to read: the buckets of one series that begin in [start, end), at most `most`."""

    coin_id: str
    currency_code: str
    start: datetime
    end: datetime
    most: int


@dataclass(frozen=True, slots=True)
class PriceColumns:
    """The buckets of one series, all arrays of one length, in the order asked for.

    None is a column that was not asked for, or is not kept: hours have `observed_at` and no open,
    high, low, close; days have these and no `observed_at`. `samples` counts the observations a
    bucket was made of.
    """

    timestamps: Times
    price: Numbers | None = None
    market_cap: Numbers | None = None
    volume: Numbers | None = None
    samples: npt.NDArray[np.int32] | None = None
    observed_at: Times | None = None
    open: Numbers | None = None
    high: Numbers | None = None
    low: Numbers | None = None
    close: Numbers | None = None

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def prices(self) -> Numbers:
        """The prices, for those who asked for them."""
        if self.price is None:
            raise LookupError("the prices were not read")
        return self.price

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
    return f"coalesce(string_agg(float8send(coalesce({column}, 'NaN')), ''), '') AS {column}"


# Texts travel as they are; arrays of other types would cost each new connection a look into the
# catalogue. A series without a bucket in its window still answers, with empty columns.
_STATEMENT = """
    SELECT s.id, s.coin_id, s.currency_code, s.revision, s.history_from, number, page.*
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
        AS wanted (coin_id, currency_code, lower, upper, most, number)
    JOIN series AS s USING (coin_id, currency_code)
    CROSS JOIN LATERAL (
        SELECT {columns}
        FROM (
            SELECT *, {start} AS start FROM {table}
            WHERE series_id = s.id
              AND {bucket} >= wanted.lower::{type} AND {bucket} < wanted.upper::{type}
            ORDER BY {bucket} {order} LIMIT wanted.most::int
        ) AS rows
    ) AS page
"""
_TIMES = "coalesce(string_agg(timestamptz_send({}), ''), '') AS {}"
_SQL = {
    **{name: _numbers(name) for name in NUMBERS},
    "timestamps": _TIMES.format("start", "timestamps"),
    "observed_at": _TIMES.format("observed_at", "observed_at"),
    "samples": "coalesce(string_agg(int4send(samples), ''), '') AS samples",
}
_TABLES = {
    Granularity.HOUR: {
        "table": "price_hourly", "bucket": "bucket", "start": "bucket", "type": "timestamptz",
    },
    Granularity.DAY: {
        "table": "price_daily", "bucket": "day", "start": "day::timestamp AT TIME ZONE 'UTC'",
        "type": "date",
    },
}  # fmt: skip
_KEPT = {
    Granularity.HOUR: frozenset({"observed_at", "price", "market_cap", "volume"}),
    Granularity.DAY: frozenset({*NUMBERS, "samples"}),
}


@cache
def _statement(granularity: Granularity, columns: frozenset[str], *, descending: bool) -> str:
    names = ["timestamps", *sorted(columns & _KEPT[granularity])]
    return _STATEMENT.format(
        columns=", ".join(_SQL[name] for name in names),
        order="DESC" if descending else "ASC",
        **_TABLES[granularity],
    )


async def read_windows(
    database: Database,
    granularity: Granularity,
    windows: Sequence[PriceWindow],
    *,
    columns: frozenset[str] = ALL_COLUMNS,
    descending: bool = False,
) -> list[tuple[SeriesFacts, PriceColumns] | None]:
    """Read the buckets of many windows with one statement; None where there is no such series.

    Only the `columns` named are read. Facts and prices are of one moment.
    """
    if not windows:
        return []
    bounds = _hour_bounds if granularity is Granularity.HOUR else _day_bounds
    lower, upper = zip(*map(bounds, windows), strict=True)
    rows = await database.fetch(
        _statement(granularity, columns, descending=descending),
        [window.coin_id for window in windows],
        [window.currency_code for window in windows],
        lower,
        upper,
        [str(window.most) for window in windows],
    )
    found: list[tuple[SeriesFacts, PriceColumns] | None] = [None] * len(windows)
    for row in rows:
        found[row["number"] - 1] = (SeriesFacts(*row[:5]), _decode(granularity, row))
    return found


def _hour_bounds(window: PriceWindow) -> tuple[str, str]:
    return window.start.isoformat(), window.end.isoformat()


def _day_bounds(window: PriceWindow) -> tuple[str, str]:
    return _first_day_from(window.start).isoformat(), _first_day_from(window.end).isoformat()


def _first_day_from(instant: datetime) -> date:
    """Name the first UTC day whose midnight is not before `instant`."""
    instant = instant.astimezone(UTC)
    if instant.date() == date.max:  # no day comes after it
        return date.max
    return instant.date() + timedelta(days=instant.time() != time.min)


def _decode(granularity: Granularity, row: asyncpg.Record) -> PriceColumns:
    parts: dict[str, Any] = {}
    for name, column in zip(row.keys(), row.values(), strict=True):
        if name in NUMBERS:
            parts[name] = np.frombuffer(column, dtype=">f8").astype(np.float64)
        elif name in ("timestamps", "observed_at"):
            micros = np.frombuffer(column, dtype=">i8").astype(np.int64)
            parts[name] = _POSTGRES_EPOCH + micros.view("timedelta64[us]")
        elif name == "samples":
            parts[name] = np.frombuffer(column, dtype=">i4").astype(np.int32)
    if granularity is Granularity.HOUR:
        parts["samples"] = np.ones(len(parts["timestamps"]), dtype=np.int32)
    return PriceColumns(**parts)
