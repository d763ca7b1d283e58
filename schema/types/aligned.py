"""Prices of many series on one timeline, as clients see them."""

from typing import Self

import strawberry

from models.prices.read import Numbers
from models.series import SeriesFacts
from resolvers.aligned import Aligned, AlignedRequest
from schema.scalars import BigInt, DateTime
from schema.types.arguments import Granularity
from schema.types.arrays import numbers, times


@strawberry.type(description="One coin in one currency, on the timeline that it shares.")
class AlignedSeries:
    coin: strawberry.ID = strawberry.field(description="The coin's id.")
    currency: strawberry.ID = strawberry.field(description="The currency's code.")
    revision: BigInt = strawberry.field(
        description="Grows with every change to this coin's prices in this currency."
    )
    prices: list[float | None] = strawberry.field(
        description="Its price in each bucket of `timestamps`, null where it has none."
    )

    @classmethod
    def from_row(cls, row: SeriesFacts, prices: Numbers) -> Self:
        return cls(
            coin=strawberry.ID(row.coin_id),
            currency=strawberry.ID(row.currency_code),
            revision=BigInt(row.revision),
            prices=numbers(prices),
        )


@strawberry.type(description="Prices of many series on one timeline.")
class AlignedPrices:
    granularity: Granularity = strawberry.field(description="How long a bucket is.")
    from_: DateTime = strawberry.field(name="from", description="The range's first moment.")
    to: DateTime = strawberry.field(description="The range's end, itself not part of it.")
    timestamps: list[DateTime] = strawberry.field(
        description="When each bucket begins, the oldest first: the timeline of all series."
    )
    series: list[AlignedSeries] = strawberry.field(
        description="Each coin in each currency: by coin, then by currency, as they were named."
    )

    @classmethod
    def from_answer(cls, request: AlignedRequest, answer: Aligned) -> Self:
        return cls(
            granularity=Granularity[request.granularity.name],
            from_=DateTime(answer.start),
            to=DateTime(request.end),
            timestamps=times(answer.timestamps),
            series=[
                AlignedSeries.from_row(facts, prices)
                for facts, prices in zip(answer.series, answer.prices, strict=True)
            ],
        )
