"""The buckets of a series: objects to GraphQL, columns underneath."""

import math
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import strawberry

from resolvers.prices import PriceAnswer
from schema.executor import Column, ColumnarList
from schema.scalars import DateTime, render_numbers, render_times


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
        render = _COLUMNS.get(field)
        if render is None:
            return None
        column = render(self)
        # JSON has no infinity: the ordinary path makes an error of it
        return None if math.inf in column or -math.inf in column else column

    @cached_property
    def _points(self) -> list[PricePoint]:
        columns = [render(self) for render in _COLUMNS.values()]
        names = [_PYTHON_NAMES[field] for field in _COLUMNS]
        return [
            PricePoint(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)
        ]

    def _numbers(self, name: str) -> list[float | None]:
        column: npt.NDArray[np.float64] | None = getattr(self._columns, name)
        return [None] * len(self) if column is None else render_numbers(column)

    def _observed(self) -> Column:
        times = self._columns.observed_at
        return [None] * len(self) if times is None else render_times(times)

    def _partial(self) -> Column:
        partial: list[bool] = (self._columns.timestamps + self._length > self._now).tolist()
        return partial


def _number(name: str) -> Callable[[PointList], Column]:
    return lambda points: points._numbers(name)  # noqa: SLF001 - its own table of columns


_COLUMNS: dict[str, Callable[[PointList], Column]] = {
    "timestamp": lambda points: render_times(points._columns.timestamps),  # noqa: SLF001 - as above
    "price": _number("price"),
    "marketCap": _number("market_cap"),
    "volume": _number("volume"),
    "observedAt": PointList._observed,  # noqa: SLF001 - as above
    "open": _number("open"),
    "high": _number("high"),
    "low": _number("low"),
    "close": _number("close"),
    "samples": lambda points: points._columns.samples.tolist(),  # noqa: SLF001 - as above
    "partial": PointList._partial,  # noqa: SLF001 - as above
}
_PYTHON_NAMES = {
    **{field: field for field in _COLUMNS},
    "marketCap": "market_cap",
    "observedAt": "observed_at",
}
