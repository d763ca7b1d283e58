"""A price series as arrays."""

from collections.abc import Sequence
from typing import Any, cast

import numpy.typing as npt
import strawberry

from schema.columnar.lists import ColumnarLeaves
from schema.scalars import DateTime
from schema.types.points import PointList

POINT_FIELD = {  # the point's field for each array with another name
    "timestamps": "timestamp",
    "prices": "price",
    "marketCaps": "marketCap",
    "volumes": "volume",
}


def numbers(column: npt.NDArray[Any] | Sequence[float | None]) -> list[float | None]:
    """Return a column of numbers as a list that the columnar executor encodes directly."""
    return cast("list[float | None]", ColumnarLeaves(column))


def times(column: npt.NDArray[Any]) -> list[DateTime]:
    """Return a column of times as a list that the columnar executor encodes directly."""
    return cast("list[DateTime]", ColumnarLeaves(column))


@strawberry.type(
    description="The values of `points` as arrays of equal length: entry n of each array belongs "
    "to the same bucket. Missing values are null."
)
class PriceColumns:
    """The values of a series' points, one array per field of `PricePoint`."""

    points: strawberry.Private[PointList]

    @strawberry.field(description="The start of each bucket.")
    def timestamps(self) -> list[DateTime]:
        return times(self.points.array("timestamp"))

    @strawberry.field(description="The `price` of each bucket.")
    def prices(self) -> list[float | None]:
        return numbers(self.points.array("price"))

    @strawberry.field(description="The `marketCap` of each bucket.")
    def market_caps(self) -> list[float | None]:
        return numbers(self.points.array("marketCap"))

    @strawberry.field(description="The `volume` of each bucket.")
    def volumes(self) -> list[float | None]:
        return numbers(self.points.array("volume"))

    @strawberry.field(description="The `open` of each bucket. All null with HOUR.")
    def open(self) -> list[float | None]:
        return numbers(self.points.array("open"))

    @strawberry.field(description="The `high` of each bucket. All null with HOUR.")
    def high(self) -> list[float | None]:
        return numbers(self.points.array("high"))

    @strawberry.field(description="The `low` of each bucket. All null with HOUR.")
    def low(self) -> list[float | None]:
        return numbers(self.points.array("low"))

    @strawberry.field(description="The `close` of each bucket. All null with HOUR.")
    def close(self) -> list[float | None]:
        return numbers(self.points.array("close"))

    @strawberry.field(description="The `samples` of each bucket.")
    def samples(self) -> list[int]:
        return cast("list[int]", ColumnarLeaves(self.points.array("samples")))

    @strawberry.field(description="The `partial` of each bucket.")
    def partial(self) -> list[bool]:
        return cast("list[bool]", ColumnarLeaves(self.points.array("partial")))

    @strawberry.field(description="The `filled` of each bucket.")
    def filled(self) -> list[bool]:
        return cast("list[bool]", ColumnarLeaves(self.points.array("filled")))
