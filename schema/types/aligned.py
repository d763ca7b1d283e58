"""The types of `alignedPrices`."""

from typing import Self

import strawberry

from models.prices.read import Numbers
from models.series import SeriesFacts
from resolvers.aligned import Aligned, AlignedRequest
from schema.scalars import BigInt, DateTime
from schema.types.arguments import Granularity
from schema.types.arrays import numbers, times


@strawberry.type(
    description="The prices of one coin in one currency on the shared timeline of `AlignedPrices`."
)
class AlignedSeries:
    """One column of the table."""

    coin: strawberry.ID = strawberry.field(description="The coin's id, for example `bitcoin`.")
    currency: strawberry.ID = strawberry.field(
        description="The currency's code, for example `usd`."
    )
    revision: BigInt = strawberry.field(
        description="Version number of the stored prices of this coin in this currency. It grows "
        "with every change to them."
    )
    prices: list[float | None] = strawberry.field(
        description="One price for each entry of `timestamps`, in units of the currency. Null "
        "where no price is known and `fill` provides none."
    )

    @classmethod
    def from_row(cls, row: SeriesFacts, prices: Numbers) -> Self:
        """Build the object from a series and its row of prices."""
        return cls(
            coin=strawberry.ID(row.coin_id),
            currency=strawberry.ID(row.currency_code),
            revision=BigInt(row.revision),
            prices=numbers(prices),
        )


@strawberry.type(
    description="The prices of several series (one coin in one currency each) on one shared "
    "timeline."
)
class AlignedPrices:
    """The table of all series."""

    granularity: Granularity = strawberry.field(description="The length of a bucket.")
    from_: DateTime = strawberry.field(
        name="from", description="The start of the range, inclusive."
    )
    to: DateTime = strawberry.field(description="The end of the range, exclusive.")
    timestamps: list[DateTime] = strawberry.field(
        description="The start of each bucket, oldest first. All series share this timeline."
    )
    series: list[AlignedSeries] = strawberry.field(
        description="One entry for each coin and currency, with the coins in the order of `coins` "
        "and, for each coin, the currencies in the order of `currencies`."
    )

    @classmethod
    def from_answer(cls, request: AlignedRequest, answer: Aligned) -> Self:
        """Build the object from the request and its result."""
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
