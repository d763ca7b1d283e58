"""Price series and newest prices, as clients see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import strawberry

from models.prices import Granularity as StoredGranularity
from models.series import SeriesWithLatest
from resolvers.prices import PriceAnswer, PriceRequest, price_request
from schema.scalars import BigInt, DateTime, given, render_times


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
        return points_of(self.answer, self.now)


def points_of(answer: PriceAnswer, now: datetime) -> list[PricePoint]:
    """Make one object of each bucket."""
    columns = answer.columns
    nothing: list[None] = [None] * len(columns)
    length = np.timedelta64(answer.request.granularity.length)
    over = columns.timestamps + length <= np.datetime64(now.replace(tzinfo=None))

    def numbers(column: npt.NDArray[np.float64] | None) -> Sequence[float | None]:
        return nothing if column is None else _nullable(column)

    observed = columns.observed_at
    return [
        PricePoint(
            timestamp=timestamp,
            price=price,
            market_cap=market_cap,
            volume=volume,
            observed_at=seen,
            open=opened,
            high=high,
            low=low,
            close=closed,
            samples=samples,
            partial=partial,
        )
        for (
            timestamp,
            price,
            market_cap,
            volume,
            seen,
            opened,
            high,
            low,
            closed,
            samples,
            partial,
        ) in zip(
            render_times(columns.timestamps),
            numbers(columns.price),
            numbers(columns.market_cap),
            numbers(columns.volume),
            nothing if observed is None else render_times(observed),
            numbers(columns.open),
            numbers(columns.high),
            numbers(columns.low),
            numbers(columns.close),
            columns.samples.tolist(),
            (~over).tolist(),
            strict=True,
        )
    ]


def _nullable(column: npt.NDArray[np.float64]) -> list[float | None]:
    """Python floats, with None in the place of NaN."""
    values: list[float | None] = column.tolist()
    for index in np.flatnonzero(np.isnan(column)):
        values[index] = None
    return values


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
    age_seconds: float = strawberry.field(description="How long ago that was.")
    revision: BigInt = strawberry.field(
        description="Grows with every change to this coin's prices in this currency."
    )

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
            age_seconds=(now - latest.observed_at).total_seconds(),
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

    def request(self, now: datetime) -> PriceRequest:
        return price_request(
            granularity=StoredGranularity[self.granularity.name],
            start=given(self.start),
            end=given(self.end),
            now=now,
            descending=self.order is SortDirection.DESC,
            first=given(self.first),
        )
