"""Coins and currencies, as clients see them."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self, cast

import strawberry

from models.coins import CoinFacts, CoinMatch, CoinMetadataFacts, CurrencyFacts
from resolvers import coins as answers
from resolvers.names import clean
from resolvers.pagination import Page
from schema.columnar.encoding import Column
from schema.columnar.lists import ColumnarList
from schema.context import Context, Info
from schema.scalars import DateTime, given, serialize_datetime
from schema.types.arguments import (
    USD,
    CurrencyArgument,
    FillArgument,
    FillPolicy,
    First,
    From,
    Granularity,
    GranularityArgument,
    OrderArgument,
    SortDirection,
    To,
)
from schema.types.latest import LatestList, LatestPrice
from schema.types.pagination import Connection
from schema.types.prices import PriceSeries, SeriesArguments


@strawberry.type(description="What is told about a coin besides its prices.")
class CoinMetadata:
    description: str | None = strawberry.field(description="In English, plain text.")
    image_url: str | None = strawberry.field(description="Where its picture is.")
    website_url: str | None = strawberry.field(description="Its home page.")
    updated_at: DateTime = strawberry.field(description="When this was last asked for.")

    @classmethod
    def from_row(cls, row: CoinMetadataFacts) -> Self:
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
    def from_row(cls, row: CoinFacts) -> Self:
        return cls(
            id=strawberry.ID(row.id),
            symbol=row.symbol,
            name=row.name,
            created_at=DateTime(row.created_at),
            updated_at=DateTime(row.updated_at),
        )

    @strawberry.field(
        description="Whether this server refreshes it: whether its id is in `COINS`. The prices of "
        "a coin that is not tracked any more stay, and grow old."
    )
    def tracked(self, info: Info) -> bool:
        tracked = info.context.tracked
        return tracked is not None and self.id in tracked.coin_ids

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
        fill: FillArgument = FillPolicy.NONE,
    ) -> PriceSeries:
        asked = SeriesArguments(from_, to, granularity, order, first, fill)
        return await asked.answer((self.id, clean(currency)), info)


class CoinList(ColumnarList[Coin]):
    """Coins of an operation, and their newest prices where these are asked for."""

    def __init__(self, rows: Sequence[CoinFacts], context: Context) -> None:
        self._rows = rows
        self._context = context

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - Sequence's own overloads
        return self._coins[index]

    @cached_property
    def _coins(self) -> list[Coin]:
        return [Coin.from_row(row) for row in self._rows]

    def column(self, field: str) -> Column | None:
        if field == "tracked":
            tracked = self._context.tracked
            ids = tracked.coin_ids if tracked else ()
            return [row.id in ids for row in self._rows]
        read = _READERS.get(field)
        return None if read is None else [read(row) for row in self._rows]

    async def children(self, field: str, arguments: dict[str, Any]) -> ColumnarList[Any] | None:
        if field != "latest":
            return None
        context, currency = self._context, clean(arguments["currency"])
        keys = [(row.id, currency) for row in self._rows]
        rows = await context.loaders.latest.load_many(keys)
        return LatestList(rows, context.now, context.footprint)


_READERS: dict[str, Callable[[CoinFacts], str]] = {
    "id": lambda row: row.id,
    "symbol": lambda row: row.symbol,
    "name": lambda row: row.name,
    "createdAt": lambda row: serialize_datetime(row.created_at),
    "updatedAt": lambda row: serialize_datetime(row.updated_at),
}


@strawberry.type(description="A currency that prices are kept in.")
class Currency:
    code: strawberry.ID = strawberry.field(description="Its code, such as `usd`.")
    name: str = strawberry.field(description="Its name, such as `US Dollar`.")
    symbol: str = strawberry.field(description="Its sign, such as `$`.")

    @strawberry.field(
        description="Whether this server refreshes prices in it: whether its code is in "
        "`CURRENCIES`."
    )
    def tracked(self, info: Info) -> bool:
        tracked = info.context.tracked
        return tracked is not None and self.code in tracked.currency_codes

    @classmethod
    def from_row(cls, row: CurrencyFacts) -> Self:
        return cls(code=strawberry.ID(row.code), name=row.name, symbol=row.symbol)


@strawberry.input(description="Which coins to list. What is given must all hold.")
class CoinFilter:
    ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Any of these ids, at most 500."
    )
    symbols: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Any of these tickers, at most 500, in any case. Coins that share one are all "
        "listed.",
    )
    search: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="A part of id, ticker or name, in any case. The best matches come first: the "
        "ticker itself, the id or name itself, the beginning of one of them, a part of one; coins "
        "that match alike come by id.",
    )

    tracked: bool | None = strawberry.field(
        default=strawberry.UNSET,
        description="True: only coins that this server refreshes. False: only those that it does "
        "not, whose prices are kept from before.",
    )

    def match(self, context: Context) -> CoinMatch:
        tracked = context.tracked
        return answers.coin_match(
            given(self.ids),
            given(self.symbols),
            given(self.search),
            tracked=given(self.tracked),
            tracked_ids=tracked.coin_ids if tracked else (),
        )


@strawberry.type(description="A page of coins, by id, or the best matches of a search first.")
class CoinConnection(Connection[Coin]):
    wanted: strawberry.Private[CoinMatch]

    @classmethod
    def from_page(cls, page: Page[CoinFacts], wanted: CoinMatch, context: Context) -> Self:
        nodes = cast("list[Coin]", CoinList(page.rows, context))
        return cls(nodes=nodes, page=page, wanted=wanted)

    @strawberry.field(description="How many coins there are on all pages.")
    async def total_count(self, info: Info) -> int:
        return await answers.count(info.context.database, info.context.footprint, self.wanted)
