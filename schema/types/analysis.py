"""What is computed from the points of a series, as clients see it."""

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


@strawberry.type(description="A price with its time.")
class TimedPrice:
    timestamp: DateTime = strawberry.field(description="When its bucket begins.")
    price: float = strawberry.field(description="The price.")

    @classmethod
    def from_row(cls, row: ComputedPrice | None) -> Self | None:
        return None if row is None else cls(timestamp=DateTime(row.at), price=row.price)


@strawberry.type(description="The deepest fall from a price to a later one.")
class Drawdown:
    percent: float = strawberry.field(
        description="How deep, in percent of the price at the peak; 0 where no price was lower "
        "than one before it."
    )
    peak: TimedPrice | None = strawberry.field(
        description="Where the fall began: the highest price before the trough. Null where "
        "nothing fell."
    )
    trough: TimedPrice | None = strawberry.field(
        description="Where it ended. Null where nothing fell."
    )

    @classmethod
    def from_row(cls, row: ComputedDrawdown | None) -> Self | None:
        if row is None:
            return None
        return cls(
            percent=row.percent,
            peak=TimedPrice.from_row(row.peak),
            trough=TimedPrice.from_row(row.trough),
        )


@strawberry.type(
    description="A range of prices in a few numbers. They are of the points' `price`: an hour's "
    "own, of a longer bucket the mean of its hours. With `first`, of this page's points. Missing "
    "and filled points do not count; a bucket that is not over yet does."
)
class PriceStatistics:
    count: int = strawberry.field(description="How many prices there are.")
    first: TimedPrice | None = strawberry.field(
        description="The earliest price, in whatever order the points are. Null without any."
    )
    last: TimedPrice | None = strawberry.field(description="The latest price. Null without any.")
    minimum: TimedPrice | None = strawberry.field(
        description="The lowest price, the earliest of equal ones. Null without any."
    )
    maximum: TimedPrice | None = strawberry.field(
        description="The highest price, the earliest of equal ones. Null without any."
    )
    mean: float | None = strawberry.field(
        description="The arithmetic mean of the prices, each counting the same. Null without any."
    )
    standard_deviation: float | None = strawberry.field(
        description="The sample standard deviation (n - 1) of the prices, in the currency: the "
        "prices seen are samples of one that never stands still. Null of fewer than 2 prices."
    )
    change: float | None = strawberry.field(
        description="`last` - `first`, in the currency. Null of fewer than 2 prices."
    )
    change_percent: float | None = strawberry.field(
        description="`change` in percent of `first`. Null of fewer than 2 prices, or where the "
        "first is 0."
    )
    volatility: float | None = strawberry.field(
        description="The annualised volatility as a fraction (0.8 is 80 %): the sample standard "
        "deviation (n - 1) of the log returns ln(price / price of the bucket before), times the "
        "square root of the buckets in a year (8,760 hours, 365 days, 52 weeks, 12 months). Only "
        "neighbouring buckets make a return; over a gap there is none. Null of fewer than 2 "
        "returns, or where a price is 0."
    )
    maximum_drawdown: Drawdown | None = strawberry.field(
        description="The deepest fall from a price to a later one. Null of fewer than 2 prices."
    )

    @classmethod
    def from_row(cls, row: Statistics) -> Self:
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


@strawberry.enum(description="How a moving average weighs the prices in it.")
class AverageKind(Enum):
    SMA = strawberry.enum_value(
        "SMA", description="Simple: the mean of the last `window` prices, all the same."
    )
    EMA = strawberry.enum_value(
        "EMA",
        description="Exponential: the newest price counts alpha = 2 / (`window` + 1), the average "
        "before it 1 - alpha. It begins with the simple average of the first `window` prices.",
    )


Window = Annotated[
    int,
    strawberry.argument(description="Over how many prices, itself among them: 1 to 10,000."),
]
KindArgument = Annotated[
    AverageKind, strawberry.argument(description="How the prices are weighed.")
]
MaxPoints = Annotated[int, strawberry.argument(description="How many points at most: 4 to 10,000.")]


def nullable_numbers(numbers: Numbers) -> list[float | None]:
    """Give JSON numbers, null where there is none or where it grew out of bounds."""
    column = np.where(np.isfinite(numbers), numbers, np.nan)
    return cast("list[float | None]", ColumnarLeaves(column))
