"""The types of `priceUpdates`."""

from collections.abc import Hashable
from enum import Enum
from typing import Self, cast

import strawberry

from resolvers.cache_dependencies import CacheDependencies
from resolvers.live.latest_prices import Update
from schema.scalars import BigInt
from schema.types.latest import LatestList, LatestPrice


@strawberry.enum(description="The reason for a price update.")
class PriceUpdateKind(Enum):
    """The reason for an update."""

    SNAPSHOT = strawberry.enum_value(
        "SNAPSHOT", description="The first update: all current prices."
    )
    CHANGE = strawberry.enum_value(
        "CHANGE",
        description="Only the prices that changed since the previous update, or since `since`.",
    )
    GAP = strawberry.enum_value(
        "GAP",
        description="Changes may have been missed, so the update contains all current prices.",
    )


@strawberry.type(description="A set of newest prices, and the revision they belong to.")
class PriceUpdate:
    """An event of `priceUpdates`."""

    kind: PriceUpdateKind = strawberry.field(
        description="Whether `prices` contains all prices or only those that changed."
    )
    revision: BigInt = strawberry.field(
        description="Version number of all prices of this deployment: it grows with every "
        "committed change. Pass the last one received as `since` to resume the subscription."
    )
    prices: list[LatestPrice] = strawberry.field(
        description="The newest price of each series, sorted by coin and then by currency; a "
        "series without a price is left out. With CHANGE, only the changed prices: replace those "
        "series. With SNAPSHOT and GAP, all prices: replace everything."
    )
    update: strawberry.Private[Update]

    @property
    def rendered(self) -> dict[Hashable, bytes]:
        """The encoded forms of this update, cached for all subscribers that receive it."""
        return self.update.rendered

    @classmethod
    def from_row(cls, row: Update, dependencies: CacheDependencies) -> Self:
        """Build the event; its subscribers share `row`."""
        prices = LatestList(row.rows, row.now, dependencies)
        return cls(
            kind=PriceUpdateKind[row.kind.name],
            revision=BigInt(row.revision),
            prices=cast("list[LatestPrice]", prices),
            update=row,
        )
