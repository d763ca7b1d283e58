"""The buckets of a series: objects to GraphQL, columns underneath."""

from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import strawberry

from models.prices.granularity import to_datetime64
from resolvers.prices import PriceAnswer
from schema.columnar.encoding import Column, finite, rows, values
from schema.columnar.lists import ColumnarList
from schema.scalars import DateTime


@strawberry.type(
    description="One bucket of a series. A bucket that is missing has no point, unless `fill` asks "
    "for one."
)
class PricePoint:
    timestamp: DateTime = strawberry.field(description="When the bucket begins.")
    price: float | None = strawberry.field(
        description="The hour's earliest observation; of a longer bucket, the mean of its hours."
    )
    market_cap: float | None = strawberry.field(
        description="Market capitalisation: an hour's own, a longer bucket's last one."
    )
    volume: float | None = strawberry.field(
        description="Traded in the 24 hours before: an hour's own figure, a longer bucket's last "
        "one. It is a rolling sum upstream, so never add these up."
    )
    observed_at: DateTime | None = strawberry.field(
        description="When the hour's price was observed, to the millisecond. Null for longer "
        "buckets."
    )
    open: float | None = strawberry.field(
        description="The price of the bucket's first hour. Null for an hour."
    )
    high: float | None = strawberry.field(
        description="The price of the bucket's highest hour. Null for an hour."
    )
    low: float | None = strawberry.field(
        description="The price of the bucket's lowest hour. Null for an hour."
    )
    close: float | None = strawberry.field(
        description="The price of the bucket's last hour. Null for an hour."
    )
    samples: int = strawberry.field(
        description="How many hourly observations the bucket is made of: fewer than 24 in a day "
        "that is over, 168 in a week, or 24 for each day of a month mean that hours are missing. "
        "1 in a day before the hourly history: it has CoinGecko's price at midnight alone. 0 where "
        "the bucket is missing and stands here by `fill`."
    )
    partial: bool = strawberry.field(
        description="True while the bucket is not over yet: it may still change."
    )
    filled: bool = strawberry.field(
        description="True where the bucket is missing and stands here because `fill` asked for it: "
        "its price is null, or with PREVIOUS the last known one. All its other figures are null."
    )


class PointList(ColumnarList[PricePoint]):
    """The points of an answer. `now` decides which bucket is still partial."""

    def __init__(self, answer: PriceAnswer, now: datetime) -> None:
        self._answer = answer
        self._now = to_datetime64(now)

    def __len__(self) -> int:
        return len(self._answer.columns)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - Sequence's own overloads
        return self._points[index]

    def column(self, field: str) -> Column | None:
        if field not in COLUMN_OF:
            return None
        column = self.array(field)
        return column if finite(column) else None

    def array(self, field: str) -> npt.NDArray[Any]:
        """Give the array of a field. Raises LookupError for one that was not asked for."""
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
        asked = self._answer.asked | ALWAYS_THERE
        columns: dict[str, Column] = {
            name: values(self.array(field)) if name in asked else [None] * len(self)
            for field, name in COLUMN_OF.items()
        }
        return [PricePoint(**row) for row in rows(columns, len(self))]


ALWAYS_THERE = frozenset({"timestamp", "partial", "filled"})
COLUMN_OF = {  # each field's, and that of models.prices.read which it is read from
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
