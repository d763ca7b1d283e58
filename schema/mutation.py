"""The mutation."""

from datetime import UTC, datetime
from typing import Annotated

import strawberry

from resolvers import runs as run_answers
from resolvers.errors import BadInputError, NotFoundError
from resolvers.names import clean_all, short
from schema.context import Info, RefreshService
from schema.permissions import require_refresh
from schema.refresh import RefreshPricesInput, RefreshPricesPayload, RefreshRun
from schema.scalars import given

_MOST_DAYS = 3650
_LONGEST_KEY = 200


@strawberry.type(description="What can be done.")
class Mutation:
    @strawberry.mutation(
        description="Fetch prices from CoinGecko. Answers at once with the run; a run under way "
        "that does what is asked for is joined. Where it does other work, the answer is "
        "SERVICE_UNAVAILABLE, with `retryAfterSeconds` in the error's extensions and Retry-After "
        "in the HTTP headers. Needs `Authorization: Bearer …` with one of REFRESH_TOKENS."
    )
    async def refresh_prices(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's name
            RefreshPricesInput | None,
            strawberry.argument(description="What to refresh; without it, what is missing."),
        ] = strawberry.UNSET,
    ) -> RefreshPricesPayload:
        context = info.context
        require_refresh(context.caller)
        wanted = input or RefreshPricesInput()
        refresher = context.services.refresher
        coins, currencies = tracked(wanted, refresher)
        days, key = checked(wanted)
        run_id, started = await refresher.start(
            coins=coins,
            currencies=currencies,
            days=days,
            rebuild=wanted.rebuild,
            key=key,
        )
        if wanted.wait:
            async with context.unhurried():
                await refresher.wait(run_id)
        row = await run_answers.run(context.database, context.footprint, str(run_id))
        return RefreshPricesPayload(
            run=RefreshRun.from_row(row, datetime.now(UTC)), started=started
        )


def tracked(
    wanted: RefreshPricesInput, refresher: RefreshService
) -> tuple[list[str] | None, list[str] | None]:
    """Clean the names. Raises NotFoundError for one that is not among COINS and CURRENCIES."""
    coins = clean_all("coins", given(wanted.coins))
    codes = clean_all("currencies", given(wanted.currencies))
    for names, known, setting in (
        (coins, refresher.coins, "COINS"),
        (codes, refresher.currencies, "CURRENCIES"),
    ):
        for name in names or ():
            if name not in known:  # it may well be kept, from when it was
                raise NotFoundError(f"{short(name)!r} is not tracked: add it to {setting}.")
    if coins == [] or codes == []:
        raise BadInputError("An empty list asks for nothing: leave it out to refresh all.")
    return coins, codes


def checked(wanted: RefreshPricesInput) -> tuple[int | None, str | None]:
    days, key = given(wanted.days), given(wanted.idempotency_key)
    if days is not None and not 1 <= days <= _MOST_DAYS:
        raise BadInputError(f"`days` must be between 1 and {_MOST_DAYS:,}, not {days:,}.")
    if key is not None and (not 1 <= len(key) <= _LONGEST_KEY or "\x00" in key):
        raise BadInputError(f"`idempotencyKey` must have 1 to {_LONGEST_KEY} characters.")
    return days, key
