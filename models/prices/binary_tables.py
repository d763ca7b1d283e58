"""Transfers prices and gaps between PostgreSQL and numpy arrays, without Python code per row."""

import math
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import asyncpg
import numpy as np
import numpy.typing as npt

from models.prices.changes import Changes
from models.prices.days import DAY_ROW
from models.prices.gaps import GAP_ROW
from models.prices.hours import HOUR_ROW, Rows


class _Type(NamedTuple):
    """How the values of a column are transferred.

    PostgreSQL's binary format is big-endian and counts times from 2000 instead of 1970. As SQL
    arrays, times have no time zone, because numpy's have none.
    """

    wire: str
    send: str
    array: str
    unit: str | None = None  # numpy's datetime64 type, for times
    epoch: int = 0
    stored: str = "{}"  # SQL that converts an array's value to the column's type


_NUMBER = _Type(">f8", "float8send", "double precision[]")
_COUNT = _Type(">i4", "int4send", "integer[]")
_DATE = _Type(">i4", "date_send", "date[]", "datetime64[D]", 10_957)
_TIME = _Type(
    ">i8", "timestamptz_send", "timestamp[]", "datetime64[us]", 946_684_800_000_000,
    "{} AT TIME ZONE 'UTC'",
)  # fmt: skip
_TYPES = {
    **dict.fromkeys(("bucket", "observed_at", "starts", "ends", "asked_since", "asked_at"), _TIME),
    "day": _DATE,
    **dict.fromkeys(("samples", "asked", "answered"), _COUNT),
}
_NULLABLE = ("market_cap", "volume")

_COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER = b"\xff\xff"


class PriceTable:
    """Reads and writes one table. `row` is the dtype of its columns without series_id, key first.

    Writers must hold the lock of the series, so that no concurrent row can conflict.
    """

    def __init__(self, name: str, row: "np.dtype[np.void]") -> None:
        self._name, self._row = name, row
        self._types = {column: _TYPES.get(column, _NUMBER) for column in row.names or ()}
        self._wire = np.dtype([(column, kind.wire) for column, kind in self._types.items()])
        self._key, *others = self._types
        stored = {
            column: kind.stored.format(f"new.{column}") for column, kind in self._types.items()
        }
        arrays = [f"${number}::{kind.array}" for number, kind in enumerate(self._types.values(), 2)]
        self._delete = f"""
            DELETE FROM {name} AS kept USING unnest({arrays[0]}) AS new ({self._key})
            WHERE kept.series_id = $1 AND kept.{self._key} = {stored[self._key]}
        """  # noqa: S608 - constants of this module alone
        self._update = f"""
            UPDATE {name} AS kept SET {", ".join(f"{each} = {stored[each]}" for each in others)}
            FROM unnest({", ".join(arrays)}) AS new ({", ".join(self._types)})
            WHERE kept.series_id = $1 AND kept.{self._key} = {stored[self._key]}
        """  # noqa: S608 - constants of this module alone

        keys, types = ", ".join(self._types), ", ".join(stored.values())
        set_all = ", ".join(f"{each} = excluded.{each}" for each in others)
        self._put = f"""
            INSERT INTO {name} (series_id, {keys}) SELECT new.series_id, {types}
            FROM unnest($1::int[], {", ".join(arrays)}) AS new (series_id, {keys})
            ON CONFLICT (series_id, {self._key}) DO UPDATE SET {set_all}
        """  # noqa: S608 - constants of this module alone

    def reading(self, where: str) -> str:
        """Return SQL for one bytea with all rows that match `where`, by key, for `decode`."""
        sent = [
            # a null would make the whole concatenation null
            f"{kind.send}(coalesce({column}, 'NaN'))" if column in _NULLABLE
            else f"{kind.send}({column})"
            for column, kind in self._types.items()
        ]  # fmt: skip
        return f"""(
            SELECT string_agg({" || ".join(sent)}, '')
            FROM (SELECT * FROM {self._name} WHERE {where} ORDER BY {self._key}) AS rows
        )"""  # noqa: S608 - constants of this module alone

    def decode(self, data: bytes | None) -> Rows:
        """Convert the bytea of `reading` to rows; NaN stands for NULL, times count from 1970."""
        rows = np.frombuffer(data or b"", self._wire).astype(self._row)
        for column, kind in self._types.items():
            if kind.epoch:
                rows[column] += kind.epoch
        return rows

    async def write(self, driver: asyncpg.Connection, series_id: int, changes: Changes) -> None:
        """Delete, update and insert the rows of one series."""
        if len(changes.gone):
            await driver.execute(self._delete, series_id, self._array(self._key, changes.gone))
        if len(changes.changed):
            arrays = [self._array(column, changes.changed[column]) for column in self._types]
            await driver.execute(self._update, series_id, *arrays)
        if len(changes.new):
            await driver.copy_to_table(
                self._name,
                source=_at_once(self._copy_stream(series_id, changes.new)),
                columns=["series_id", *self._types],
                format="binary",
            )

    async def put(self, driver: asyncpg.Connection, series_ids: Sequence[int], rows: Rows) -> None:
        """Insert or replace one row of each of these series."""
        arrays = [self._array(column, rows[column]) for column in self._types]
        await driver.execute(self._put, series_ids, *arrays)

    def _array(self, column: str, values: npt.NDArray[Any]) -> list[Any]:
        """Convert a column to asyncpg's types: None for null, dates, times without a time zone."""
        if unit := self._types[column].unit:
            values = values.astype(unit)
        found: list[Any] = values.tolist()
        if column in _NULLABLE:
            return [None if math.isnan(value) else value for value in found]
        return found

    def _copy_stream(self, series_id: int, rows: Rows) -> bytes:
        """Encode all rows in the binary format of COPY.

        Each row is its number of fields, then each field's length and content, all big-endian; a
        null has the length -1 and no content:
        https://www.postgresql.org/docs/current/sql-copy.html
        """
        layout = [("fields", ">i2"), ("series length", ">i4"), ("series", ">i4")]
        for column, kind in self._types.items():
            layout += [(f"{column} length", ">i4"), (column, kind.wire)]
        wire = np.empty(len(rows), layout)
        sent = np.ones(wire.nbytes, np.uint8).view(wire.dtype)  # 1 for each byte to send
        wire["fields"] = len(self._types) + 1
        wire["series length"], wire["series"] = 4, series_id
        for column, kind in self._types.items():
            wire[f"{column} length"] = wire.dtype[column].itemsize
            wire[column] = rows[column] - kind.epoch if kind.epoch else rows[column]
            if column in _NULLABLE:
                null = np.isnan(rows[column])
                wire[f"{column} length"][null] = -1
                sent[column][null] = 0
        content, kept = wire.view(np.uint8), sent.view(np.bool_)
        if not kept.all():
            content = content[kept]
        return _COPY_HEADER + content.tobytes() + _COPY_TRAILER


async def _at_once(data: bytes) -> AsyncIterator[bytes]:
    """Yield the bytes as an asynchronous iterator; asyncpg would read a file in a thread."""
    yield data


HOURLY = PriceTable("price_hourly", HOUR_ROW)
DAILY = PriceTable("price_daily", DAY_ROW)
GAPS = PriceTable("price_gap", GAP_ROW)
DAY_GAPS = PriceTable("price_gap_daily", GAP_ROW)
BUCKETS = PriceTable("price_hourly", np.dtype([("bucket", np.int64)]))  # only to read
DAY_KEYS = PriceTable("price_daily", np.dtype([("day", np.int64)]))  # only to read
