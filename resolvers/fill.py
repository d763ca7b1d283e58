"""Buckets in the place of those that are missing, where a caller asks for them. Pure."""

from dataclasses import fields
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from models.prices.granularity import Granularity
from models.prices.read import Numbers, PriceColumns

Bools = npt.NDArray[np.bool_]


class FillPolicy(StrEnum):
    """What stands in for a missing bucket: nothing, nulls, or the last known price."""

    NONE = "NONE"
    NULL = "NULL"
    PREVIOUS = "PREVIOUS"


def fill(
    columns: PriceColumns,
    granularity: Granularity,
    numbers: range,
    *,
    descending: bool,
    before: float | None = None,
) -> PriceColumns:
    """Give every bucket of these numbers, and none else; those that are missing have nulls.

    With `before`, the last price before the buckets (NaN: there is none), they have the last known
    price instead, and still nulls elsewhere: nothing else is known of an hour that nobody saw.
    """
    places = granularity.numbers(columns.timestamps) - numbers.start
    kept = (places >= 0) & (places < len(numbers))
    if before is not None and columns.price is not None:
        before = _last_before(columns.price[places < 0], before, descending=descending)
    filled = np.ones(len(numbers), dtype=np.bool_)
    filled[places[kept]] = False
    parts: dict[str, Any] = {
        field.name: _spread(column[kept], places[kept], len(numbers))
        for field in fields(columns)
        if (column := getattr(columns, field.name)) is not None
    }
    if before is not None and columns.price is not None:
        parts["price"] = carry(parts["price"], ~filled, before)
    parts |= {"timestamps": granularity.starts(numbers), "filled": filled}
    if descending:  # copied, because JSON is written from what lies in one piece
        parts = {name: np.ascontiguousarray(column[::-1]) for name, column in parts.items()}
    return PriceColumns(**parts)


def carry(prices: Numbers, known: Bools, before: float) -> Numbers:
    """Give each bucket the last known price, `before` ahead of the first."""
    last = np.maximum.accumulate(np.where(known, np.arange(len(prices)), -1))
    carried: Numbers = np.where(last >= 0, prices[last], before)
    return carried


def _last_before(earlier: Numbers, before: float, *, descending: bool) -> float:
    """Give the price nearest to the buckets among those read that lie before them."""
    if not len(earlier):
        return before
    return float(earlier[0 if descending else -1])


def _spread(column: npt.NDArray[Any], places: npt.NDArray[np.int64], length: int) -> Any:  # noqa: ANN401 - an array of the same kind
    """Put values to their places, and null (0 for a count) everywhere else."""
    blank = {"f": np.nan, "M": np.datetime64("NaT", "us"), "i": 0}[column.dtype.kind]
    spread = np.full(length, blank, dtype=column.dtype)
    spread[places] = column
    return spread
