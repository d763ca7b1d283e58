"""Price series."""

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
from resolvers.coverage import CoverageQuery
from resolvers.fill import FillPolicy as StoredPolicy
from resolvers.prices import PricePage, PriceQuery
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


@strawberry.type(description="The prices of one coin in one currency over a time range.")
class PriceSeries:
    """The prices of one series over a range."""

    coin: strawberry.ID = strawberry.field(description="The coin's id, for example `bitcoin`.")
    currency: strawberry.ID = strawberry.field(
        description="The currency's code, for example `usd`."
    )
    granularity: Granularity = strawberry.field(description="The length of a bucket.")
    from_: DateTime = strawberry.field(
        name="from", description="The start of the range, inclusive."
    )
    to: DateTime = strawberry.field(description="The end of the range, exclusive.")
    revision: BigInt = strawberry.field(
        description="Version number of the stored prices of this coin in this currency. It grows "
        "with every change to them."
    )
    next: DateTime | None = strawberry.field(
        description="The start of the next page: pass it as `from` (with `order: DESC`, as `to`) "
        "and keep the other arguments. Null on the last page."
    )
    answer: strawberry.Private[PricePage]
    now: strawberry.Private[datetime]

    @classmethod
    def from_answer(cls, answer: PricePage, now: datetime) -> Self:
        """Build the object from a page of prices."""
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
        description="The stored buckets, and those that `fill` creates, in the requested order."
    )
    def points(self) -> list[PricePoint]:
        # the columnar executor encodes it directly
        return cast("list[PricePoint]", PointList(self.answer, self.now))

    @strawberry.field(
        description="At most `maxPoints` of the points, selected so that a chart keeps its shape "
        "(Largest Triangle Three Buckets), in the requested order. Every point is an original "
        "one. The first, the last, the lowest and the highest are always included. Missing and "
        "filled points are excluded. All points if there are no more than `maxPoints`."
    )
    def downsampled(self, max_points: MaxPoints) -> list[PricePoint]:
        fewer = downsampled(self.answer, max_points)
        return cast("list[PricePoint]", PointList(fewer, self.now))

    @strawberry.field(description="Summary statistics of the prices in `points`.")
    def statistics(self) -> PriceStatistics:
        return PriceStatistics.from_row(statistics(self.answer))

    @strawberry.field(
        description="A moving average of `price`, with one entry for each of `points`, in the same "
        "order. It always runs forward in time, over the known prices only: a missing bucket "
        "makes the window reach farther back. The first `window` - 1 entries and the entries of "
        "missing and filled points are null."
    )
    def moving_average(
        self, window: Window, kind: KindArgument = AverageKind.SMA
    ) -> list[float | None]:
        return nullable_numbers(moving_average(self.answer, window, ComputedKind[kind.name]))

    @strawberry.field(description="The values of `points` as arrays, for charts and data frames.")
    def columns(self) -> PriceColumns:
        return PriceColumns(points=PointList(self.answer, self.now))

    @strawberry.field(
        description="How many buckets of the whole range from `from` to `to` are stored, and which "
        "are missing. Independent of `first` and `fill`."
    )
    async def coverage(self, info: Info) -> Coverage:
        answer, request = self.answer, self.answer.request
        key = (answer.coin_id, answer.currency_code)
        question = CoverageQuery(key, request.granularity, answer.start, request.end)
        return Coverage.from_row(await info.context.loaders.coverage.load(question))


@dataclass(frozen=True, slots=True)
class SeriesArguments:
    """The arguments of `Query.prices` and `Coin.prices`."""

    start: datetime | None
    end: datetime | None
    granularity: Granularity
    order: SortDirection
    first: int | None
    fill: FillPolicy

    async def answer(self, key: SeriesKey, info: Info) -> PriceSeries:
        """Read the columns that the operation selects. Raises what `price_request` raises."""
        context = info.context
        question = PriceQuery(key, self._request(context), _columns(selected_fields(info)))
        return PriceSeries.from_answer(await context.loaders.prices.load(question), context.now)

    def _request(self, context: Context) -> PriceRequest:
        return price_request(
            granularity=StoredGranularity[self.granularity.name],
            start=given(self.start),
            end=given(self.end),
            now=context.now,
            dependencies=context.dependencies,
            descending=self.order is SortDirection.DESC,
            first=given(self.first),
            fill=StoredPolicy[self.fill.name],
        )


@lru_cache(maxsize=1000)
def _columns(fields: frozenset[str]) -> frozenset[str]:
    """Return the stored columns that these fields of a series need.

    A field that is missing here fails when it reads its column: PricePage returns only requested
    ones.
    """
    names = (POINT_FIELD.get(field, field) for field in fields)
    own = frozenset(COLUMN_OF[name] for name in names if name in COLUMN_OF)
    return own | {"price"} if fields & _OF_PRICES else own


_OF_PRICES = {"statistics", "movingAverage", "downsampled"}
