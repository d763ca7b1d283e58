"""A run as it goes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from resolvers.live.run_watcher import RunState
from resolvers.runs import parse_run_id
from schema.context import Info
from schema.refresh import RefreshRun


def _shown(state: RunState) -> RefreshRun:
    """Make the event, once for all who get it."""
    if state.shown is None:
        state.shown = RefreshRun.from_row(state.run, state.seen_at, state)
    shown: RefreshRun = state.shown
    return shown


@strawberry.type
class RefreshProgress:
    """The part of the subscriptions that is about runs."""

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
                yield _shown(state)
