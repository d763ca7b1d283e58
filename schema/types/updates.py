"""Updates of prices, as subscribers see them."""

from collections.abc import Hashable
from enum import Enum
from typing import Self, cast

import strawberry

from resolvers.cache_dependencies import Footprint
from resolvers.live.newest_prices import Update
from schema.scalars import BigInt
from schema.types.latest import LatestList, LatestPrice


@strawberry.enum(description="Why a price update comes.")
class PriceUpdateKind(Enum):
    SNAPSHOT = strawberry.enum_value(
        "SNAPSHOT", description="The first update: the present prices, all of them."
    )
    CHANGE = strawberry.enum_value(
        "CHANGE", description="These prices changed since the update before, or since `since`."
    )
    GAP = strawberry.enum_value(
        "GAP",
        description="Changes may have been missed. These are the present prices, all of them.",
    )


@strawberry.type(description="Newest prices, and as of which revision they are.")
class PriceUpdate:
    kind: PriceUpdateKind = strawberry.field(
        description="Whether `prices` are all of them or those that changed."
    )
    revision: BigInt = strawberry.field(
        description="Counts the changes of all prices of this deployment, in the order in which "
        "they were committed. Give the last one you saw as `since` to go on from there."
    )
    prices: list[LatestPrice] = strawberry.field(
        description="The newest price of each series, by coin and currency; a series that has "
        "none is left out. With CHANGE, those that changed since the update before: replace what "
        "you hold of them. With SNAPSHOT and GAP, all: replace everything."
    )
    update: strawberry.Private[Update]

    @property
    def rendered(self) -> dict[Hashable, bytes]:
        """Where answers made of this update are kept, for all who are given the same one."""
        return self.update.rendered

    @classmethod
    def from_row(cls, row: Update, footprint: Footprint) -> Self:
        prices = LatestList(row.rows, row.now, footprint)
        return cls(
            kind=PriceUpdateKind[row.kind.name],
            revision=BigInt(row.revision),
            prices=cast("list[LatestPrice]", prices),
            update=row,
        )
