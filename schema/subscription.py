"""The root of all subscriptions."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from resolvers.live.newest_prices import Update
from resolvers.live.run_watcher import RunState
from resolvers.runs import parse_run_id
from schema.context import Info
from schema.permissions import require_read
from schema.scalars import BigInt, given
from schema.types.arguments import CoinsArgument, CurrenciesArgument
from schema.types.refresh_runs import RefreshRun
from schema.types.updates import PriceUpdate

SinceArgument = Annotated[
    BigInt | None,
    strawberry.argument(
        description="The `revision` of the last update you saw, to go on from there: first comes "
        "what changed since, as a CHANGE, or nothing until something does. Where that is not "
        "known here, such as after a backup was restored, a GAP with all prices comes instead."
    ),
]


@strawberry.type(description="What can be followed.")
class Subscription:
    @strawberry.subscription(
        description="A run as it goes, in whichever process: first as it is now, then whenever it "
        "has changed, and last as it ended, which completes the stream. An ended run is told once. "
        "Whoever takes them slowly gets fewer of them, and always the newest."
    )
    async def refresh_progress(
        self,
        info: Info,
        run_id: Annotated[strawberry.ID, strawberry.argument(description="The run's id.")],
    ) -> AsyncGenerator[RefreshRun, None]:
        following = info.context.services.runs.follow(parse_run_id(run_id))
        async with aclosing(following):
            async for state in following:
                yield _progress_event(state)

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
        return _price_events(updates, info)


async def _price_events(
    updates: AsyncGenerator[Update, None], info: Info
) -> AsyncGenerator[PriceUpdate, None]:
    async with aclosing(updates):
        async for update in updates:
            yield PriceUpdate.from_row(update, info.context.footprint)


def _progress_event(state: RunState) -> RefreshRun:
    """Make the event, once for all who get it."""
    if state.shown is None:
        state.shown = RefreshRun.from_row(state.run, state.seen_at, state)
    shown: RefreshRun = state.shown
    return shown
