"""Reads price series as numpy columns, any number of series with one statement."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple

import asyncpg
import numpy as np
import numpy.typing as npt

from models.postgres.database import Database
from models.prices.granularity import Granularity, Times
from models.prices.read_sql import BEFORE, BEGINS, NUMBERS, window_statement
from models.series import SeriesFacts

Numbers = npt.NDArray[np.float64]  # NaN for no value

ALL_COLUMNS = frozenset({*NUMBERS, "samples", "observed_at"})  # timestamps are always read

_POSTGRES_EPOCH = np.datetime64("2000-01-01T00:00:00", "us")


@dataclass(frozen=True, slots=True)
class PriceWindow:
    """The buckets of one series to read: at most `most` that begin in [start, end)."""

    coin_id: str
    currency_code: str
    start: datetime
    end: datetime
    most: int


@dataclass(frozen=True, slots=True)
class SeriesColumns:
    """The buckets of one series: arrays of equal length, in the requested order.

    A column is None if it was not requested or does not exist: hours have `observed_at` but no
    open, high, low and close; longer buckets have these but no `observed_at`. Prices, market caps
    and volumes are in units of the series' currency. `samples` counts the observations in a bucket.
    `filled` marks buckets that replace missing ones; None if there are none.
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
    filled: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def prices(self) -> Numbers:
        """The column `price`. Raises LookupError if it was not read."""
        if self.price is None:
            raise LookupError("the prices were not read")
        return self.price

    def head(self, count: int) -> "SeriesColumns":
        """Return the first `count` buckets, as views."""
        return self.take(slice(count))

    def take(self, places: "slice | npt.NDArray[np.intp]") -> "SeriesColumns":
        """Return the buckets at these places."""
        parts: dict[str, Any] = {
            field.name: None if (column := getattr(self, field.name)) is None else column[places]
            for field in fields(self)
        }
        return SeriesColumns(**parts)


class WindowPrices(NamedTuple):
    """The result of one window.

    If requested, `before` is the price of the last bucket before the window (NaN without one), and
    `begins` the start of the series' first bucket of all (None without one).
    """

    facts: SeriesFacts
    columns: SeriesColumns
    before: float
    begins: datetime | None


async def read_windows(
    database: Database,
    granularity: Granularity,
    windows: Sequence[PriceWindow],
    *,
    columns: frozenset[str] = ALL_COLUMNS,
    descending: bool = False,
) -> list[WindowPrices | None]:
    """Read the buckets of many windows with one statement; None for an unknown series.

    Only the `columns` named are read; they may include BEFORE and BEGINS. Facts and prices are from
    one snapshot.
    """
    if not windows:
        return []
    rows = await database.fetch(
        window_statement(granularity, columns, descending=descending),
        [window.coin_id for window in windows],
        [window.currency_code for window in windows],
        [_edge(granularity, window.start) for window in windows],
        [_edge(granularity, window.end) for window in windows],
        [str(window.most) for window in windows],
    )
    found: list[WindowPrices | None] = [None] * len(windows)
    for row in rows:
        before, begins = row.get(BEFORE), row.get(BEGINS)
        found[row["number"] - 1] = WindowPrices(
            SeriesFacts(*row[:6]),
            _decode(granularity, row),
            before=np.nan if before is None else before,
            begins=None if begins is None else _midnight(begins),
        )
    return found


def _edge(granularity: Granularity, instant: datetime) -> str:
    """Return the key, as text, of the first bucket that begins at or after `instant`."""
    if granularity is Granularity.HOUR:
        return instant.isoformat()
    start: np.datetime64 = granularity.starts(granularity.ceil(instant))
    return str(start.astype("datetime64[D]"))


def _midnight(begins: date) -> datetime:
    return begins if isinstance(begins, datetime) else datetime.combine(begins, time.min, UTC)


def _decode(granularity: Granularity, row: asyncpg.Record) -> SeriesColumns:
    parts: dict[str, Any] = {}
    for name, column in row.items():
        if name in NUMBERS:
            parts[name] = np.frombuffer(column, dtype=">f8").astype(np.float64)
        elif name in ("timestamps", "observed_at"):
            micros = np.frombuffer(column, dtype=">i8").astype(np.int64)
            parts[name] = _POSTGRES_EPOCH + micros.view("timedelta64[us]")
        elif name == "samples":
            parts[name] = np.frombuffer(column, dtype=">i4").astype(np.int32)
    if granularity is Granularity.HOUR:
        parts["samples"] = np.ones(len(parts["timestamps"]), dtype=np.int32)
    return SeriesColumns(**parts)
