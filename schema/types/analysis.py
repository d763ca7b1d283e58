"""The types of values computed from price points."""

from enum import Enum
from typing import Annotated, Self, cast

import numpy as np
import strawberry

from models.prices.read import Numbers
from resolvers.analysis.statistics import Drawdown as ComputedDrawdown
from resolvers.analysis.statistics import Statistics
from resolvers.analysis.statistics import TimedPrice as ComputedPrice
from schema.columnar.lists import ColumnarLeaves
from schema.scalars import DateTime


@strawberry.type(description="A price and the bucket it belongs to.")
class TimedPrice:
    """A price and its bucket."""

    timestamp: DateTime = strawberry.field(description="The start of the bucket.")
    price: float = strawberry.field(description="The price, in units of the currency.")

    @classmethod
    def from_row(cls, row: ComputedPrice | None) -> Self | None:
        """Build the object; None stays None."""
        return None if row is None else cls(timestamp=DateTime(row.at), price=row.price)


@strawberry.type(
    description="The maximum drawdown: the largest relative fall from a price to a later one."
)
class Drawdown:
    """The maximum drawdown."""

    percent: float = strawberry.field(
        description="The fall in percent of the price at the peak, 0 to 100. 0 if no price is "
        "lower than an earlier one."
    )
    peak: TimedPrice | None = strawberry.field(
        description="The start of the fall: the highest price before the trough. Null if no price "
        "fell."
    )
    trough: TimedPrice | None = strawberry.field(
        description="The end of the fall: the price at its lowest point. Null if no price fell."
    )

    @classmethod
    def from_row(cls, row: ComputedDrawdown | None) -> Self | None:
        """Build the object; None stays None."""
        if row is None:
            return None
        return cls(
            percent=row.percent,
            peak=TimedPrice.from_row(row.peak),
            trough=TimedPrice.from_row(row.trough),
        )


@strawberry.type(
    description="Summary statistics of the `price` values of `points`: an hour's own price, or the "
    "mean of the hours of a longer bucket. With `first`, they cover this page only. Missing and "
    "filled points are excluded. A bucket in progress is included."
)
class PriceStatistics:
    """Summary statistics."""

    count: int = strawberry.field(description="The number of prices.")
    first: TimedPrice | None = strawberry.field(
        description="The earliest price by time, whatever `order` is. Null if there are no prices."
    )
    last: TimedPrice | None = strawberry.field(
        description="The latest price by time, whatever `order` is. Null if there are no prices."
    )
    minimum: TimedPrice | None = strawberry.field(
        description="The lowest price, or the earliest of several equal ones. Null if there are no "
        "prices."
    )
    maximum: TimedPrice | None = strawberry.field(
        description="The highest price, or the earliest of several equal ones. Null if there are "
        "no prices."
    )
    mean: float | None = strawberry.field(
        description="The arithmetic mean of the prices, unweighted, in units of the currency. Null "
        "if there are no prices."
    )
    standard_deviation: float | None = strawberry.field(
        description="The sample standard deviation (n - 1) of the prices, in units of the "
        "currency. Null for fewer than 2 prices."
    )
    change: float | None = strawberry.field(
        description="`last` - `first`, in units of the currency. Null for fewer than 2 prices."
    )
    change_percent: float | None = strawberry.field(
        description="`change` in percent of `first`: 5 means 5 %. Null for fewer than 2 prices, or "
        "if the first is 0."
    )
    volatility: float | None = strawberry.field(
        description="The annualised volatility as a fraction: 0.8 means 80 %. It is the sample "
        "standard deviation (n - 1) of the log returns ln(price / price of the bucket before), "
        "times the square root of the number of buckets in a year (8,760 hours, 365 days, 52 "
        "weeks, 12 months). Only adjacent buckets give a return; a gap gives none. Null for fewer "
        "than 2 returns, or if a price is 0."
    )
    maximum_drawdown: Drawdown | None = strawberry.field(
        description="The largest relative fall from a price to a later one. Null for fewer than 2 "
        "prices."
    )

    @classmethod
    def from_row(cls, row: Statistics) -> Self:
        """Build the object from computed statistics."""
        return cls(
            count=row.count,
            first=TimedPrice.from_row(row.first),
            last=TimedPrice.from_row(row.last),
            minimum=TimedPrice.from_row(row.minimum),
            maximum=TimedPrice.from_row(row.maximum),
            mean=row.mean,
            standard_deviation=row.standard_deviation,
            change=row.change,
            change_percent=row.change_percent,
            volatility=row.volatility,
            maximum_drawdown=Drawdown.from_row(row.maximum_drawdown),
        )


@strawberry.enum(description="How a moving average weights its prices.")
class AverageKind(Enum):
    """The kinds of moving averages."""

    SMA = strawberry.enum_value(
        "SMA",
        description="Simple moving average: the mean of the last `window` prices, equally "
        "weighted.",
    )
    EMA = strawberry.enum_value(
        "EMA",
        description="Exponential moving average: alpha × the newest price + (1 - alpha) × the "
        "previous average, with alpha = 2 / (`window` + 1). The first average is the simple "
        "average of the first `window` prices.",
    )


Window = Annotated[
    int,
    strawberry.argument(
        description="The number of prices in each average, the current one included: 1 to 10,000."
    ),
]
KindArgument = Annotated[
    AverageKind, strawberry.argument(description="How the prices are weighted.")
]
MaxPoints = Annotated[
    int, strawberry.argument(description="The maximum number of points: 4 to 10,000.")
]


def nullable_numbers(numbers: Numbers) -> list[float | None]:
    """Return JSON numbers; null for NaN and infinity."""
    column = np.where(np.isfinite(numbers), numbers, np.nan)
    return cast("list[float | None]", ColumnarLeaves(column))
