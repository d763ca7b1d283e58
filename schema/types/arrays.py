"""A series as arrays, for charts and data frames."""

from collections.abc import Sequence
from typing import Any, cast

import numpy.typing as npt
import strawberry

from schema.columnar.lists import ColumnarLeaves
from schema.scalars import DateTime
from schema.types.points import PointList

POINT_FIELD = {  # of each array that is named otherwise
    "timestamps": "timestamp",
    "prices": "price",
    "marketCaps": "marketCap",
    "volumes": "volume",
}


def numbers(column: npt.NDArray[Any] | Sequence[float | None]) -> list[float | None]:
    """Give a column of numbers as a list, which the columnar executor need not walk."""
    return cast("list[float | None]", ColumnarLeaves(column))


def times(column: npt.NDArray[Any]) -> list[DateTime]:
    """Give a column of times likewise."""
    return cast("list[DateTime]", ColumnarLeaves(column))


@strawberry.type(
    description="The same numbers as `points`, as arrays of one length: the first entries of all "
    "of them belong to the first bucket. A value that is missing is null."
)
class PriceColumns:
    points: strawberry.Private[PointList]

    @strawberry.field(description="When each bucket begins.")
    def timestamps(self) -> list[DateTime]:
        return times(self.points.array("timestamp"))

    @strawberry.field(description="Each bucket's `price`.")
    def prices(self) -> list[float | None]:
        return numbers(self.points.array("price"))

    @strawberry.field(description="Each bucket's `marketCap`.")
    def market_caps(self) -> list[float | None]:
        return numbers(self.points.array("marketCap"))

    @strawberry.field(description="Each bucket's `volume`.")
    def volumes(self) -> list[float | None]:
        return numbers(self.points.array("volume"))

    @strawberry.field(description="Each bucket's `open`; all null for hours.")
    def open(self) -> list[float | None]:
        return numbers(self.points.array("open"))

    @strawberry.field(description="Each bucket's `high`; all null for hours.")
    def high(self) -> list[float | None]:
        return numbers(self.points.array("high"))

    @strawberry.field(description="Each bucket's `low`; all null for hours.")
    def low(self) -> list[float | None]:
        return numbers(self.points.array("low"))

    @strawberry.field(description="Each bucket's `close`; all null for hours.")
    def close(self) -> list[float | None]:
        return numbers(self.points.array("close"))

    @strawberry.field(description="Each bucket's `samples`.")
    def samples(self) -> list[int]:
        return cast("list[int]", ColumnarLeaves(self.points.array("samples")))

    @strawberry.field(description="Each bucket's `partial`.")
    def partial(self) -> list[bool]:
        return cast("list[bool]", ColumnarLeaves(self.points.array("partial")))

    @strawberry.field(description="Each bucket's `filled`.")
    def filled(self) -> list[bool]:
        return cast("list[bool]", ColumnarLeaves(self.points.array("filled")))
