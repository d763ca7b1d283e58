"""The points of a series: objects for GraphQL, stored as columns."""

from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import strawberry

from models.prices.granularity import to_datetime64
from resolvers.prices import PricePage
from schema.columnar.encoding import Column, finite, rows, values
from schema.columnar.lists import ColumnarList
from schema.scalars import DateTime


@strawberry.type(
    description="One bucket of a series. Missing buckets have no point unless `fill` is given."
)
class PricePoint:
    """One bucket."""

    timestamp: DateTime = strawberry.field(description="The start of the bucket.")
    price: float | None = strawberry.field(
        description="The price, in units of the currency. For an hour, the earliest observation in "
        "it; for a longer bucket, the mean of its hourly prices. Null if `filled` is true and no "
        "price is known."
    )
    market_cap: float | None = strawberry.field(
        description="The market capitalisation, in units of the currency. For an hour, its own; "
        "for a longer bucket, that of its last hour. Null if not known."
    )
    volume: float | None = strawberry.field(
        description="The trading volume of the preceding 24 hours, in units of the currency. For "
        "an hour, its own; for a longer bucket, that of its last hour. It is a rolling sum, so "
        "never add up the volumes of several buckets. Null if not known."
    )
    observed_at: DateTime | None = strawberry.field(
        description="The time when the hour's price was observed, to the millisecond. Null for "
        "longer buckets."
    )
    open: float | None = strawberry.field(
        description="The price of the bucket's first hour. Null with HOUR."
    )
    high: float | None = strawberry.field(
        description="The highest hourly price in the bucket. Null with HOUR."
    )
    low: float | None = strawberry.field(
        description="The lowest hourly price in the bucket. Null with HOUR."
    )
    close: float | None = strawberry.field(
        description="The price of the bucket's last hour. Null with HOUR."
    )
    samples: int = strawberry.field(
        description="The number of hourly observations in the bucket. In a finished bucket, fewer "
        "than 24 for each day means that hours are missing. 1 for a day before the hourly "
        "history, which has only CoinGecko's price at midnight. 0 if `filled` is true."
    )
    partial: bool = strawberry.field(
        description="True if the bucket is still in progress, so its values may change."
    )
    filled: bool = strawberry.field(
        description="True if the bucket is missing and `fill` created this point. `price` is then "
        "null or, with PREVIOUS, the last known price; all other values are null."
    )


class PointList(ColumnarList[PricePoint]):
    """The points of a response. A bucket that ends after `now` is partial."""

    def __init__(self, answer: PricePage, now: datetime) -> None:
        self._answer = answer
        self._now = to_datetime64(now)

    def __len__(self) -> int:
        return len(self._answer.columns)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - Sequence's own overloads
        return self._points[index]

    def column(self, field: str) -> Column | None:
        """Return the JSON values of a field; None if it needs the ordinary path."""
        if field not in COLUMN_OF:
            return None
        column = self.array(field)
        return column if finite(column) else None

    def array(self, field: str) -> npt.NDArray[Any]:
        """Return the array of a field. Raises LookupError for one that was not requested."""
        columns = self._answer.columns
        if field == "timestamp":
            return columns.timestamps
        if field == "partial":
            return self._answer.request.granularity.ends(columns.timestamps) > self._now
        if field == "filled":
            return np.zeros(len(self), np.bool_) if columns.filled is None else columns.filled
        return self._answer.column(COLUMN_OF[field])

    @cached_property
    def _points(self) -> list[PricePoint]:
        requested = self._answer.requested | ALWAYS_THERE
        columns: dict[str, Column] = {
            name: values(self.array(field)) if name in requested else [None] * len(self)
            for field, name in COLUMN_OF.items()
        }
        return [PricePoint(**row) for row in rows(columns, len(self))]


ALWAYS_THERE = frozenset({"timestamp", "partial", "filled"})
COLUMN_OF = {  # the column of models.prices.read for each field
    "timestamp": "timestamp",
    "price": "price",
    "marketCap": "market_cap",
    "volume": "volume",
    "observedAt": "observed_at",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "samples": "samples",
    "partial": "partial",
    "filled": "filled",
}
