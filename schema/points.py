"""The buckets of a series: objects to GraphQL, columns underneath."""

from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import strawberry

from resolvers.prices import PriceAnswer
from schema.columns import Column, rows, values
from schema.executor import ColumnarList
from schema.scalars import DateTime


@strawberry.type(description="One bucket of a series. A bucket that is missing has no point.")
class PricePoint:
    timestamp: DateTime = strawberry.field(description="When the bucket begins.")
    price: float | None = strawberry.field(
        description="The hour's earliest observation; of a day, the mean of its hours."
    )
    market_cap: float | None = strawberry.field(
        description="Market capitalisation: an hour's own, a day's last one."
    )
    volume: float | None = strawberry.field(
        description="Traded in the 24 hours before: an hour's own figure, a day's last one. "
        "It is a rolling sum upstream, so never add these up."
    )
    observed_at: DateTime | None = strawberry.field(
        description="When the hour's price was observed, to the millisecond. Null for a day."
    )
    open: float | None = strawberry.field(description="The day's first hour. Null for an hour.")
    high: float | None = strawberry.field(description="The day's highest hour. Null for an hour.")
    low: float | None = strawberry.field(description="The day's lowest hour. Null for an hour.")
    close: float | None = strawberry.field(description="The day's last hour. Null for an hour.")
    samples: int = strawberry.field(
        description="How many hourly observations the bucket is made of: fewer than 24 in a "
        "day that is over mean that hours are missing."
    )
    partial: bool = strawberry.field(
        description="True while the bucket is not over yet: it may still change."
    )


class PointList(ColumnarList[PricePoint]):
    """The points of an answer. `now` decides which bucket is still partial."""

    def __init__(self, answer: PriceAnswer, now: datetime) -> None:
        self._columns = answer.columns
        self._length = np.timedelta64(answer.request.granularity.length)
        self._now = np.datetime64(now.replace(tzinfo=None))

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - Sequence's own overloads
        return self._points[index]

    def column(self, field: str) -> Column | None:
        if field not in FIELDS:
            return None
        column = self._column(field)
        if column.dtype.kind == "f" and np.isinf(column).any():
            return None  # not in JSON: the ordinary path names the point
        return column

    def _column(self, field: str) -> npt.NDArray[Any]:
        if field == "partial":
            return self._columns.timestamps + self._length > self._now
        column: npt.NDArray[Any] | None = getattr(self._columns, FIELDS[field])
        # null for all where buckets of this length have no such column
        return np.full(len(self), np.nan) if column is None else column

    @cached_property
    def _points(self) -> list[PricePoint]:
        columns = {
            "timestamp" if field == "timestamp" else name: values(self._column(field))
            for field, name in FIELDS.items()
        }
        return [PricePoint(**row) for row in rows(columns, len(self))]


FIELDS = {  # and their columns
    "timestamp": "timestamps",
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
}
