"""Latest prices."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

import strawberry

from models.series import LatestFacts
from resolvers.cache_dependencies import CacheDependencies
from resolvers.series import age_of
from schema.columnar.encoding import Column
from schema.columnar.lists import ColumnarList
from schema.context import Info
from schema.scalars import BigInt, DateTime, serialize_datetime


@strawberry.type(description="The newest known price of one coin in one currency.")
class LatestPrice:
    """The latest price of a series."""

    coin: strawberry.ID = strawberry.field(description="The coin's id, for example `bitcoin`.")
    currency: strawberry.ID = strawberry.field(
        description="The currency's code, for example `usd`."
    )
    price: float = strawberry.field(description="The price of one coin, in units of the currency.")
    market_cap: float | None = strawberry.field(
        description="The market capitalisation, in units of the currency. Null if CoinGecko gave "
        "none."
    )
    volume: float | None = strawberry.field(
        description="The trading volume of the 24 hours before `observedAt`, in units of the "
        "currency. Null if CoinGecko gave none."
    )
    change24h: float | None = strawberry.field(
        description="The change over 24 hours in percent: 5 means 5 %. It is CoinGecko's figure if "
        "it gave one, otherwise the change against the stored hour 24 hours earlier. Null if "
        "neither is known."
    )
    observed_at: DateTime = strawberry.field(description="The time when the price was observed.")
    revision: BigInt = strawberry.field(
        description="Version number of the stored prices of this coin in this currency. It grows "
        "with every change to them."
    )
    age: strawberry.Private[timedelta]

    @strawberry.field(
        description="The age of the price, in seconds, when the response was computed. Never "
        "negative."
    )
    def age_seconds(self, info: Info) -> float:
        info.context.dependencies.mark_relative()
        return self.age.total_seconds()

    @classmethod
    def from_row(cls, row: LatestFacts, now: datetime) -> Self | None:
        """Build the object; None if the series has no price. The age is relative to `now`."""
        if row.observed_at is None or row.price is None:
            return None
        return cls(
            coin=strawberry.ID(row.coin_id),
            currency=strawberry.ID(row.currency_code),
            price=row.price,
            market_cap=row.market_cap,
            volume=row.volume,
            change24h=row.change_24h,
            observed_at=DateTime(row.observed_at),
            revision=BigInt(row.revision),
            age=age_of(row.observed_at, now),
        )


class LatestList(ColumnarList[LatestPrice | None]):
    """Latest prices as columns; null for a series without a price."""

    def __init__(
        self, rows: Sequence[LatestFacts], now: datetime, dependencies: CacheDependencies
    ) -> None:
        self._rows = rows
        self._now = now
        self._dependencies = dependencies

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - Sequence's own overloads
        if isinstance(index, slice):
            return [LatestPrice.from_row(row, self._now) for row in self._rows[index]]
        return LatestPrice.from_row(self._rows[index], self._now)

    @property
    def missing(self) -> Sequence[int]:
        """The indices of the series without a price."""
        return [index for index, row in enumerate(self._rows) if row.observed_at is None]

    def column(self, field: str) -> Column | None:
        """Return the JSON values of a field; None if it needs the ordinary path."""
        read = _READERS.get(field)
        if read is None:
            return None
        if field == "ageSeconds":
            self._dependencies.mark_relative()
        column = [None if row.observed_at is None else read(row, self._now) for row in self._rows]
        # JSON has no infinity: the ordinary path reports an error
        return None if math.inf in column or -math.inf in column else column


_READERS: dict[str, Callable[[Any, datetime], Any]] = {
    "coin": lambda row, _: row.coin_id,
    "currency": lambda row, _: row.currency_code,
    "price": lambda row, _: row.price,
    "marketCap": lambda row, _: row.market_cap,
    "volume": lambda row, _: row.volume,
    "change24h": lambda row, _: row.change_24h,
    "observedAt": lambda row, _: serialize_datetime(row.observed_at),
    "ageSeconds": lambda row, now: age_of(row.observed_at, now).total_seconds(),
    "revision": lambda row, _: row.revision,
}
