"""The root of all mutations."""

from datetime import UTC, datetime
from typing import Annotated

import strawberry

from resolvers import runs as run_resolvers
from schema.context import Info
from schema.permissions import require_refresh
from schema.types.refresh_input import RefreshPricesInput
from schema.types.refresh_runs import RefreshPricesPayload, RefreshRun


@strawberry.type(description="The root of all mutations.")
class Mutation:
    """The root type `Mutation`."""

    @strawberry.mutation(
        description="Start a refresh: fetch prices from CoinGecko in the background. Returns the "
        "run at once, unless `wait` is true. If a run in progress covers the request, returns "
        "that run instead. If a run in progress does other work, fails with the code "
        "SERVICE_UNAVAILABLE, with `retryAfterSeconds` in the error's extensions and a "
        "Retry-After header. Requires the header `Authorization: Bearer <token>` with one of the "
        "server's REFRESH_TOKENS."
    )
    async def refresh_prices(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's name
            RefreshPricesInput | None,
            strawberry.argument(
                description="What to refresh. Default: everything that is missing."
            ),
        ] = strawberry.UNSET,
    ) -> RefreshPricesPayload:
        context = info.context
        require_refresh(context.caller)
        wanted = input or RefreshPricesInput()
        refresher = context.services.refresher
        scope, key = wanted.checked(refresher)
        run_id, started = await refresher.start(scope, key=key)
        if wanted.wait:
            async with context.deadline_paused():
                await refresher.wait(run_id)
        row = await run_resolvers.run(context.database, context.dependencies, str(run_id))
        return RefreshPricesPayload(
            run=RefreshRun.from_row(row, datetime.now(UTC)), started=started
        )
