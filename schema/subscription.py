"""The subscriptions."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from resolvers.live.newest_prices import Update
from schema.arguments import CoinsArgument, CurrenciesArgument
from schema.context import Info
from schema.permissions import require_read
from schema.progress import RefreshProgress
from schema.scalars import BigInt, given
from schema.updates import PriceUpdate

SinceArgument = Annotated[
    BigInt | None,
    strawberry.argument(
        description="The `revision` of the last update you saw, to go on from there: first comes "
        "what changed since, as a CHANGE, or nothing until something does. Where that is not "
        "known here, such as after a backup was restored, a GAP with all prices comes instead."
    ),
]


@strawberry.type(description="What can be followed.")
class Subscription(RefreshProgress):
    @strawberry.subscription(
        description="The newest prices, and then each change as it is committed, by whichever "
        "process. First comes a SNAPSHOT of all of them. A reader that is slow is given the newest "
        "price of each series and not those in between, so nothing piles up. Where changes may "
        "have been missed, such as while the database was away, a GAP with all prices comes. "
        "Coins that are added later are followed too, unless `coins` is given."
    )
    async def price_updates(
        self,
        info: Info,
        coins: CoinsArgument = strawberry.UNSET,
        currencies: CurrenciesArgument = strawberry.UNSET,
        since: SinceArgument = strawberry.UNSET,
    ) -> AsyncGenerator[PriceUpdate, None]:
        context = info.context
        require_read(context.caller)
        updates = await context.services.updates.subscribe(
            given(coins), given(currencies), given(since)
        )
        return _shown(updates, info)


async def _shown(
    updates: AsyncGenerator[Update, None], info: Info
) -> AsyncGenerator[PriceUpdate, None]:
    async with aclosing(updates):
        async for update in updates:
            yield PriceUpdate.from_row(update, info.context.footprint)
