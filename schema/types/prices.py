"""Price series, as clients see them."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Self, cast

import strawberry

from models.prices.granularity import Granularity as StoredGranularity
from models.series import SeriesKey
from resolvers.analysis.downsampling import downsampled
from resolvers.analysis.moving_averages import AverageKind as ComputedKind
from resolvers.analysis.moving_averages import moving_average
from resolvers.analysis.statistics import statistics
from resolvers.coverage import CoverageQuestion
from resolvers.fill import FillPolicy as StoredPolicy
from resolvers.prices import PriceAnswer, PriceQuestion
from resolvers.ranges import PriceRequest, price_request
from schema.context import Context, Info
from schema.scalars import BigInt, DateTime, given, moment
from schema.types.analysis import (
    AverageKind,
    KindArgument,
    MaxPoints,
    PriceStatistics,
    Window,
    nullable_numbers,
)
from schema.types.arguments import FillPolicy, Granularity, SortDirection
from schema.types.arrays import POINT_FIELD, PriceColumns
from schema.types.coverage import Coverage
from schema.types.points import COLUMN_OF, PointList, PricePoint
from schema.types.selection import selected_fields


@strawberry.type(description="Prices of one coin in one currency over a range of time.")
class PriceSeries:
    coin: strawberry.ID = strawberry.field(description="The coin's id.")
    currency: strawberry.ID = strawberry.field(description="The currency's code.")
    granularity: Granularity = strawberry.field(description="How long a bucket is.")
    from_: DateTime = strawberry.field(name="from", description="The range's first moment.")
    to: DateTime = strawberry.field(description="The range's end, itself not part of it.")
    revision: BigInt = strawberry.field(
        description="Grows with every change to this coin's prices in this currency."
    )
    next: DateTime | None = strawberry.field(
        description="The `from` of the next page (with `order: DESC` its `to`), null on the last."
    )
    answer: strawberry.Private[PriceAnswer]
    now: strawberry.Private[datetime]

    @classmethod
    def from_answer(cls, answer: PriceAnswer, now: datetime) -> Self:
        return cls(
            coin=strawberry.ID(answer.coin_id),
            currency=strawberry.ID(answer.currency_code),
            granularity=Granularity[answer.request.granularity.name],
            from_=DateTime(answer.start),
            to=DateTime(answer.request.end),
            revision=BigInt(answer.revision),
            next=moment(answer.next),
            answer=answer,
            now=now,
        )

    @strawberry.field(
        description="The buckets that exist, and those that `fill` asked for, in the order asked "
        "for."
    )
    def points(self) -> list[PricePoint]:
        # a sequence like any other, which the columnar executor need not walk
        return cast("list[PricePoint]", PointList(self.answer, self.now))

    @strawberry.field(
        description="At most so many of the points, chosen to look the same on a chart (Largest "
        "Triangle Three Buckets), in the order asked for. They are real points, none of them "
        "computed: the first, the last, the lowest and the highest are always among them. Missing "
        "and filled points are left out. All points, where there are no more."
    )
    def downsampled(self, max_points: MaxPoints) -> list[PricePoint]:
        fewer = downsampled(self.answer, max_points)
        return cast("list[PricePoint]", PointList(fewer, self.now))

    @strawberry.field(description="The prices in a few numbers.")
    def statistics(self) -> PriceStatistics:
        return PriceStatistics.from_row(statistics(self.answer))

    @strawberry.field(
        description="A moving average of `price`: one entry for each of `points`, in their order. "
        "It runs forward in time in either order, over the prices there are: the first "
        "`window` - 1 have null, and a missing bucket makes a window reach farther back. Missing "
        "and filled points have null and count for nothing."
    )
    def moving_average(
        self, window: Window, kind: KindArgument = AverageKind.SMA
    ) -> list[float | None]:
        return nullable_numbers(moving_average(self.answer, window, ComputedKind[kind.name]))

    @strawberry.field(description="The same as arrays, for charts and data frames.")
    def columns(self) -> PriceColumns:
        return PriceColumns(points=PointList(self.answer, self.now))

    @strawberry.field(
        description="What there is of the whole range from `from` to `to`, and what is missing, "
        "whatever `first` and `fill` say."
    )
    async def coverage(self, info: Info) -> Coverage:
        answer, request = self.answer, self.answer.request
        key = (answer.coin_id, answer.currency_code)
        question = CoverageQuestion(key, request.granularity, answer.start, request.end)
        return Coverage.from_row(await info.context.loaders.coverage.load(question))


@dataclass(frozen=True, slots=True)
class SeriesArguments:
    """The arguments that `prices` takes at the root and nested in a coin."""

    start: datetime | None
    end: datetime | None
    granularity: Granularity
    order: SortDirection
    first: int | None
    fill: FillPolicy

    async def answer(self, key: SeriesKey, info: Info) -> PriceSeries:
        """Read what the operation selects. Raises what `price_request` raises."""
        context = info.context
        question = PriceQuestion(key, self._request(context), _columns(selected_fields(info)))
        return PriceSeries.from_answer(await context.loaders.prices.load(question), context.now)

    def _request(self, context: Context) -> PriceRequest:
        return price_request(
            granularity=StoredGranularity[self.granularity.name],
            start=given(self.start),
            end=given(self.end),
            now=context.now,
            footprint=context.footprint,
            descending=self.order is SortDirection.DESC,
            first=given(self.first),
            fill=StoredPolicy[self.fill.name],
        )


@lru_cache(maxsize=1000)
def _columns(fields: frozenset[str]) -> frozenset[str]:
    """Name the columns that these fields of a series are made of.

    A field that is missing here, and reads a column, fails: PriceAnswer gives none unasked.
    """
    names = (POINT_FIELD.get(field, field) for field in fields)
    own = frozenset(COLUMN_OF[name] for name in names if name in COLUMN_OF)
    return own | {"price"} if fields & _OF_PRICES else own


_OF_PRICES = {"statistics", "movingAverage", "downsampled"}
