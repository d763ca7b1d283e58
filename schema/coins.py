"""Coins and currencies, as clients see them."""

from typing import Self

import strawberry

from models.coins import CoinMatch
from models.tables import Coin as CoinRow
from models.tables import CoinMetadata as CoinMetadataRow
from models.tables import Currency as CurrencyRow
from resolvers import coins as answers
from resolvers.names import clean
from schema.context import Info
from schema.pagination import Connection
from schema.prices import (
    CurrencyArgument,
    First,
    From,
    Granularity,
    GranularityArgument,
    LatestPrice,
    OrderArgument,
    PriceSeries,
    SeriesArguments,
    SortDirection,
    To,
)
from schema.scalars import DateTime, given

USD = strawberry.ID("usd")


@strawberry.type(description="What is told about a coin besides its prices.")
class CoinMetadata:
    description: str | None = strawberry.field(description="In English, plain text.")
    image_url: str | None = strawberry.field(description="Where its picture is.")
    website_url: str | None = strawberry.field(description="Its home page.")
    updated_at: DateTime = strawberry.field(description="When this was last asked for.")

    @classmethod
    def from_row(cls, row: CoinMetadataRow) -> Self:
        return cls(
            description=row.description,
            image_url=row.image_url,
            website_url=row.website_url,
            updated_at=DateTime(row.updated_at),
        )


@strawberry.type(description="A coin whose prices are kept.")
class Coin:
    id: strawberry.ID = strawberry.field(description="CoinGecko's id, such as `bitcoin`.")
    symbol: str = strawberry.field(description="Its ticker, such as `btc`. Coins may share one.")
    name: str = strawberry.field(description="Its name, such as `Bitcoin`.")
    created_at: DateTime = strawberry.field(description="Since when it is kept here.")
    updated_at: DateTime = strawberry.field(description="When its name or ticker last changed.")

    @classmethod
    def from_row(cls, row: CoinRow) -> Self:
        return cls(
            id=strawberry.ID(row.id),
            symbol=row.symbol,
            name=row.name,
            created_at=DateTime(row.created_at),
            updated_at=DateTime(row.updated_at),
        )

    @strawberry.field(description="Description, picture, home page; null until first fetched.")
    async def metadata(self, info: Info) -> CoinMetadata | None:
        row = await info.context.loaders.metadata.load(self.id)
        return None if row is None else CoinMetadata.from_row(row)

    @strawberry.field(description="The newest known price; null where there is none yet.")
    async def latest(self, info: Info, currency: CurrencyArgument = USD) -> LatestPrice | None:
        context = info.context
        row = await context.loaders.latest.load((self.id, clean(currency)))
        return LatestPrice.from_row(row, context.now)

    @strawberry.field(description="Its prices over a range of time.")
    async def prices(
        self,
        info: Info,
        currency: CurrencyArgument = USD,
        from_: From = strawberry.UNSET,
        to: To = strawberry.UNSET,
        granularity: GranularityArgument = Granularity.HOUR,
        order: OrderArgument = SortDirection.ASC,
        first: First = strawberry.UNSET,
    ) -> PriceSeries:
        context = info.context
        request = SeriesArguments(from_, to, granularity, order, first).request(context)
        answer = await context.loaders.prices.load(((self.id, clean(currency)), request))
        return PriceSeries.from_answer(answer, context.now)


@strawberry.type(description="A currency that prices are kept in.")
class Currency:
    code: strawberry.ID = strawberry.field(description="Its code, such as `usd`.")
    name: str = strawberry.field(description="Its name, such as `US Dollar`.")
    symbol: str = strawberry.field(description="Its sign, such as `$`.")

    @classmethod
    def from_row(cls, row: CurrencyRow) -> Self:
        return cls(code=strawberry.ID(row.code), name=row.name, symbol=row.symbol)


@strawberry.input(description="Which coins to list. What is given must all hold.")
class CoinFilter:
    ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Any of these ids."
    )
    symbols: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="Any of these tickers, in any case."
    )
    search: str | None = strawberry.field(
        default=strawberry.UNSET, description="A part of id, ticker or name, in any case."
    )

    def match(self) -> CoinMatch:
        return answers.coin_match(given(self.ids), given(self.symbols), given(self.search))


@strawberry.type(description="A page of coins, by id.")
class CoinConnection(Connection[Coin]):
    wanted: strawberry.Private[CoinMatch]

    @strawberry.field(description="How many coins there are on all pages.")
    async def total_count(self, info: Info) -> int:
        return await answers.count(info.context.database, info.context.footprint, self.wanted)
