"""Coins and currencies."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self, cast

import strawberry

from models.coins import CoinFacts, CoinMatch, CoinMetadataFacts, CurrencyFacts
from resolvers import coins as coin_resolvers
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


@strawberry.type(description="Descriptive data about a coin, from CoinGecko.")
class CoinMetadata:
    """Descriptive data about a coin."""

    description: str | None = strawberry.field(
        description="A description of the coin in English, as plain text without HTML. Null if "
        "CoinGecko has none."
    )
    image_url: str | None = strawberry.field(
        description="The URL of the coin's logo. Null if CoinGecko has none."
    )
    website_url: str | None = strawberry.field(
        description="The URL of the coin's home page. Null if CoinGecko has none."
    )
    updated_at: DateTime = strawberry.field(description="The time when this data was last fetched.")

    @classmethod
    def from_row(cls, row: CoinMetadataFacts) -> Self:
        """Build the object from its stored row."""
        return cls(
            description=row.description,
            image_url=row.image_url,
            website_url=row.website_url,
            updated_at=DateTime(row.updated_at),
        )


@strawberry.type(description="A coin whose prices are stored.")
class Coin:
    """A coin; its prices are fields with arguments."""

    id: strawberry.ID = strawberry.field(
        description="CoinGecko's id of the coin, for example `bitcoin`. Unique and stable."
    )
    symbol: str = strawberry.field(
        description="The ticker, for example `btc`. Several coins may share one."
    )
    name: str = strawberry.field(description="The name, for example `Bitcoin`.")
    created_at: DateTime = strawberry.field(
        description="The time when the coin was added to this server."
    )
    updated_at: DateTime = strawberry.field(
        description="The time of the last change to the coin's name or ticker."
    )

    @classmethod
    def from_row(cls, row: CoinFacts) -> Self:
        """Build the object from its stored row."""
        return cls(
            id=strawberry.ID(row.id),
            symbol=row.symbol,
            name=row.name,
            created_at=DateTime(row.created_at),
            updated_at=DateTime(row.updated_at),
        )

    @strawberry.field(
        description="True if this server refreshes the coin's prices: its id is in the setting "
        "COINS. The prices of an untracked coin remain available but are no longer updated."
    )
    def tracked(self, info: Info) -> bool:
        tracked = info.context.tracked
        return tracked is not None and self.id in tracked.coin_ids

    @strawberry.field(
        description="The description, logo and home page. Null until they are first fetched."
    )
    async def metadata(self, info: Info) -> CoinMetadata | None:
        row = await info.context.loaders.metadata.load(self.id)
        return None if row is None else CoinMetadata.from_row(row)

    @strawberry.field(
        description="The newest known price in one currency. Null if there is none yet. A currency "
        "in which the coin has no series fails with the code NOT_FOUND."
    )
    async def latest(self, info: Info, currency: CurrencyArgument = USD) -> LatestPrice | None:
        context = info.context
        row = await context.loaders.latest.load((self.id, clean(currency)))
        return LatestPrice.from_row(row, context.now)

    @strawberry.field(
        description="The coin's prices in one currency over a time range. Read a long range in "
        "pages, with `first` and `next`. A currency in which the coin has no series fails with "
        "the code NOT_FOUND."
    )
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
        arguments = SeriesArguments(from_, to, granularity, order, first, fill)
        return await arguments.answer((self.id, clean(currency)), info)


class CoinList(ColumnarList[Coin]):
    """Coins as columns, with their latest prices if the operation selects them."""

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
        """Return the JSON values of a field; None if it needs the ordinary path."""
        if field == "tracked":
            tracked = self._context.tracked
            ids = tracked.coin_ids if tracked else ()
            return [row.id in ids for row in self._rows]
        read = _READERS.get(field)
        return None if read is None else [read(row) for row in self._rows]

    async def children(self, field: str, arguments: dict[str, Any]) -> ColumnarList[Any] | None:
        """Return the latest prices for `latest`; None for other fields."""
        if field != "latest":
            return None
        context, currency = self._context, clean(arguments["currency"])
        keys = [(row.id, currency) for row in self._rows]
        rows = await context.loaders.latest.load_many(keys)
        return LatestList(rows, context.now, context.dependencies)


_READERS: dict[str, Callable[[CoinFacts], str]] = {
    "id": lambda row: row.id,
    "symbol": lambda row: row.symbol,
    "name": lambda row: row.name,
    "createdAt": lambda row: serialize_datetime(row.created_at),
    "updatedAt": lambda row: serialize_datetime(row.updated_at),
}


@strawberry.type(description="A currency in which prices are stored.")
class Currency:
    """A currency."""

    code: strawberry.ID = strawberry.field(
        description="The currency's code, for example `usd`. Unique and stable."
    )
    name: str = strawberry.field(description="The name, for example `US Dollar`.")
    symbol: str = strawberry.field(description="The sign, for example `$`.")

    @strawberry.field(
        description="True if this server refreshes prices in this currency: its code is in the "
        "setting CURRENCIES."
    )
    def tracked(self, info: Info) -> bool:
        tracked = info.context.tracked
        return tracked is not None and self.code in tracked.currency_codes

    @classmethod
    def from_row(cls, row: CurrencyFacts) -> Self:
        """Build the object from its stored row."""
        return cls(code=strawberry.ID(row.code), name=row.name, symbol=row.symbol)


@strawberry.input(
    description="Conditions for listing coins. A coin must satisfy all conditions that are given."
)
class CoinFilter:
    """The conditions of `coins`."""

    ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET,
        description="The coin has one of these ids, at most 500. Ids that are not stored are "
        "ignored.",
    )
    symbols: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="The coin has one of these tickers, at most 500, case-insensitive. All coins "
        "that share a ticker are listed.",
    )
    search: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The id, ticker or name contains this text, case-insensitive. The results are "
        "sorted by match: first an equal ticker, then an equal id or name, then a match at the "
        "beginning, then any other. Equal matches are sorted by id.",
    )

    tracked: bool | None = strawberry.field(
        default=strawberry.UNSET,
        description="True: only coins that this server refreshes. False: only coins that it no "
        "longer refreshes, whose prices remain stored.",
    )

    def match(self, context: Context) -> CoinMatch:
        """Validate the conditions. Raises BadInputError."""
        tracked = context.tracked
        return coin_resolvers.coin_match(
            given(self.ids),
            given(self.symbols),
            given(self.search),
            tracked=given(self.tracked),
            tracked_ids=tracked.coin_ids if tracked else (),
        )


@strawberry.type(
    description="One page of coins, sorted by id or, with `filter.search`, by how well they match."
)
class CoinConnection(Connection[Coin]):
    """A page of coins."""

    wanted: strawberry.Private[CoinMatch]

    @classmethod
    def from_page(cls, page: Page[CoinFacts], wanted: CoinMatch, context: Context) -> Self:
        """Build the connection from a page of rows and its filter."""
        nodes = cast("list[Coin]", CoinList(page.rows, context))
        return cls(nodes=nodes, page=page, wanted=wanted)

    @strawberry.field(description="The number of coins on all pages.")
    async def total_count(self, info: Info) -> int:
        return await coin_resolvers.count(
            info.context.database, info.context.dependencies, self.wanted
        )
