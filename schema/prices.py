"""Price series and newest prices, as clients see them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Self, cast

import strawberry

from models.prices import Granularity as StoredGranularity
from models.series import SeriesWithLatest
from resolvers.prices import PriceAnswer, PriceRequest, price_request
from schema.context import Context, Info
from schema.points import PointList, PricePoint
from schema.scalars import BigInt, DateTime, given


@strawberry.enum(description="How long a bucket is.")
class Granularity(Enum):
    HOUR = strawberry.enum_value(
        "HOUR", description="An hour. Its price is the earliest observation in it."
    )
    DAY = strawberry.enum_value("DAY", description="A UTC day. Its price is the mean of its hours.")


@strawberry.enum(description="The order of time.")
class SortDirection(Enum):
    ASC = strawberry.enum_value("ASC", description="The oldest first.")
    DESC = strawberry.enum_value("DESC", description="The newest first.")


From = Annotated[
    DateTime | None,
    strawberry.argument(
        name="from",
        description="The first moment of the range. Without it, the start of the kept history.",
    ),
]
To = Annotated[
    DateTime | None,
    strawberry.argument(
        description="The end of the range, itself not part of it. Without it, now."
    ),
]
First = Annotated[
    int | None,
    strawberry.argument(
        description="How many buckets at most, up to 10,000; `next` tells where to go on. "
        "Without it the whole range, which may then have no more than 10,000 buckets."
    ),
]
GranularityArgument = Annotated[
    Granularity, strawberry.argument(description="How long a bucket is.")
]
OrderArgument = Annotated[SortDirection, strawberry.argument(description="The order of time.")]
CurrencyArgument = Annotated[
    strawberry.ID, strawberry.argument(description="The currency's code, such as `usd`.")
]


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
            next=DateTime(answer.next) if answer.next else None,
            answer=answer,
            now=now,
        )

    @strawberry.field(description="The buckets that exist, in the order asked for.")
    def points(self) -> list[PricePoint]:
        # a sequence like any other, which the columnar executor need not walk
        return cast("list[PricePoint]", PointList(self.answer, self.now))


@strawberry.type(description="The newest known price of a coin in a currency.")
class LatestPrice:
    coin: strawberry.ID = strawberry.field(description="The coin's id.")
    currency: strawberry.ID = strawberry.field(description="The currency's code.")
    price: float = strawberry.field(description="The price.")
    market_cap: float | None = strawberry.field(description="Market capitalisation.")
    volume: float | None = strawberry.field(description="Traded in the 24 hours before.")
    change24h: float | None = strawberry.field(
        description="The change over 24 hours in percent: CoinGecko's figure where it gave one, "
        "else against the hour 24 hours before; null where neither is known."
    )
    observed_at: DateTime = strawberry.field(description="When the price was observed.")
    revision: BigInt = strawberry.field(
        description="Grows with every change to this coin's prices in this currency."
    )
    age: strawberry.Private[timedelta]

    @strawberry.field(description="How long ago that was.")
    def age_seconds(self, info: Info) -> float:
        info.context.footprint.now()
        return self.age.total_seconds()

    @classmethod
    def from_row(cls, row: SeriesWithLatest, now: datetime) -> Self | None:
        latest = row.latest
        if latest is None:
            return None
        return cls(
            coin=strawberry.ID(row.series.coin_id),
            currency=strawberry.ID(row.series.currency_code),
            price=latest.price,
            market_cap=latest.market_cap,
            volume=latest.volume,
            change24h=latest.change_24h,
            observed_at=DateTime(latest.observed_at),
            age=now - latest.observed_at,
            revision=BigInt(row.series.revision),
        )


@dataclass(frozen=True, slots=True)
class SeriesArguments:
    """The arguments that `prices` takes at the root and nested in a coin."""

    start: datetime | None
    end: datetime | None
    granularity: Granularity
    order: SortDirection
    first: int | None

    def request(self, context: Context) -> PriceRequest:
        return price_request(
            granularity=StoredGranularity[self.granularity.name],
            start=given(self.start),
            end=given(self.end),
            now=context.now,
            footprint=context.footprint,
            descending=self.order is SortDirection.DESC,
            first=given(self.first),
        )
