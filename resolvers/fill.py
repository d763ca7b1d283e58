"""Fills missing buckets if a request asks for it. Pure."""

from dataclasses import fields
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from models.prices.granularity import Granularity
from models.prices.read import Numbers, SeriesColumns

Bools = npt.NDArray[np.bool_]


class FillPolicy(StrEnum):
    """What replaces a missing bucket: nothing, nulls, or the last known price."""

    NONE = "NONE"
    NULL = "NULL"
    PREVIOUS = "PREVIOUS"


def fill(
    columns: SeriesColumns,
    granularity: Granularity,
    numbers: range,
    *,
    descending: bool,
    before: float | None = None,
) -> SeriesColumns:
    """Return exactly the buckets with these numbers; missing ones have nulls.

    If `before`, the last price before the buckets (NaN: none), is given, a missing bucket has the
    last known price as its price. Its other values are still null, because nothing was observed.
    """
    places = granularity.numbers(columns.timestamps) - numbers.start
    in_range = (places >= 0) & (places < len(numbers))
    if before is not None and columns.price is not None:
        before = _last_before(columns.price[places < 0], before, descending=descending)
    filled = np.ones(len(numbers), dtype=np.bool_)
    filled[places[in_range]] = False
    parts: dict[str, Any] = {
        field.name: _spread(column[in_range], places[in_range], len(numbers))
        for field in fields(columns)
        if (column := getattr(columns, field.name)) is not None
    }
    if before is not None and columns.price is not None:
        parts["price"] = carry(parts["price"], ~filled, before)
    parts |= {"timestamps": granularity.starts(numbers), "filled": filled}
    if descending:  # copied: JSON encoding needs contiguous arrays
        parts = {name: np.ascontiguousarray(column[::-1]) for name, column in parts.items()}
    return SeriesColumns(**parts)


def carry(prices: Numbers, known: Bools, before: float) -> Numbers:
    """Return the last known price of each bucket; `before` until the first known one."""
    last = np.maximum.accumulate(np.where(known, np.arange(len(prices)), -1))
    carried: Numbers = np.where(last >= 0, prices[last], before)
    return carried


def _last_before(earlier: Numbers, before: float, *, descending: bool) -> float:
    """Return the nearest price before the buckets among those that were read."""
    if not len(earlier):
        return before
    return float(earlier[0 if descending else -1])


def _spread(column: npt.NDArray[Any], places: npt.NDArray[np.int64], length: int) -> Any:  # noqa: ANN401 - an array of the same kind
    """Return a column of `length` with the values at `places`, otherwise null (0 for counts)."""
    blank = {"f": np.nan, "M": np.datetime64("NaT", "us"), "i": 0}[column.dtype.kind]
    spread = np.full(length, blank, dtype=column.dtype)
    spread[places] = column
    return spread
