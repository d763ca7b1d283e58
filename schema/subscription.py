"""The root of all subscriptions."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from resolvers.live.latest_prices import Update
from resolvers.live.run_watcher import RunState
from resolvers.runs import parse_run_id
from schema.context import Info
from schema.permissions import require_read
from schema.scalars import BigInt, given
from schema.types.arguments import CoinsArgument, CurrenciesArgument, RunIdArgument
from schema.types.refresh_runs import RefreshRun
from schema.types.updates import PriceUpdate

SinceArgument = Annotated[
    BigInt | None,
    strawberry.argument(
        description="Resume after this `revision`, that of the last update received. The first "
        "update is then a CHANGE with what changed since, sent as soon as there is any. If the "
        "server cannot resume from there, for example after a backup was restored, the first "
        "update is a GAP with all prices. Default: start with a SNAPSHOT."
    ),
]


@strawberry.type(description="The root of all subscriptions.")
class Subscription:
    """The root type `Subscription`."""

    @strawberry.subscription(
        description="The progress of one refresh run, in whichever server process it runs. Sends "
        "the current state at once, each later state, and the final state, after which the stream "
        "completes. A run that has ended sends one event. A slow client skips intermediate states "
        "and always receives the newest."
    )
    async def refresh_progress(
        self,
        info: Info,
        run_id: RunIdArgument,
    ) -> AsyncGenerator[RefreshRun, None]:
        following = info.context.services.runs.follow(parse_run_id(run_id))
        async with aclosing(following):
            async for state in following:
                yield _progress_event(state)

    @strawberry.subscription(
        description="The newest prices, then every change when it is committed. The first update "
        "is a SNAPSHOT of all prices, unless `since` is given. A slow client receives the newest "
        "price of each series and skips intermediate ones. After an interruption in which the "
        "server may have missed changes, for example a lost database connection, a GAP with all "
        "prices follows. Without `coins`, coins that are added later are included."
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
            yield PriceUpdate.from_row(update, info.context.dependencies)


def _progress_event(state: RunState) -> RefreshRun:
    """Build the event once for all subscribers."""
    if state.shown is None:
        state.shown = RefreshRun.from_row(state.run, state.seen_at, state)
    shown: RefreshRun = state.shown
    return shown
