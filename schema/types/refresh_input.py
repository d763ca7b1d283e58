"""What clients may ask to be refreshed."""

from collections.abc import Sequence

import strawberry

from resolvers.errors import BadInputError, NotFoundError
from resolvers.names import clean_all, short
from schema.refresh_service import RefreshScope, RefreshService
from schema.scalars import given

_MOST_DAYS = 3650
_LONGEST_KEY = 200


@strawberry.input(description="What to refresh. All of it may be left out.")
class RefreshPricesInput:
    coins: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only these coins, at most 500; without it, all."
    )
    currencies: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Only these currencies, at most 500; without it, all.",
    )
    days: int | None = strawberry.field(
        default=strawberry.UNSET, description="So many days back; without it, what is missing."
    )
    rebuild: bool = strawberry.field(
        default=False,
        description="Fetch the history anew and replace what is kept, each series at one stroke: "
        "where fetching fails, what is there stays.",
    )
    only_due: bool = strawberry.field(
        default=False,
        description="Leave out what CoinGecko did not have when it was asked lately: it is asked "
        "for again later, ever less often. For schedulers: it bounds what a month costs. Without "
        "it, all that is missing is asked for at once.",
    )
    wait: bool = strawberry.field(
        default=False,
        description="Answer only when the run has ended. For people and tests; a scheduler "
        "asks `refreshRun` later.",
    )
    idempotency_key: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Up to 200 characters of yours; the same key always gets the same run, also "
        "after it has ended, and whatever else is asked for with it.",
    )

    def checked(self, refresher: RefreshService) -> tuple[RefreshScope, str | None]:
        """Give what to refresh, and the idempotency key.

        Raises NotFoundError for a name that is not among COINS and CURRENCIES, and BadInputError.
        """
        coins = _names("coins", given(self.coins))
        currencies = _names("currencies", given(self.currencies))
        _require_tracked(coins, refresher.coins, "COINS")
        _require_tracked(currencies, refresher.currencies, "CURRENCIES")
        days, key = given(self.days), given(self.idempotency_key)
        if () in (coins, currencies):
            raise BadInputError("An empty list asks for nothing: leave it out to refresh all.")
        if days is not None and not 1 <= days <= _MOST_DAYS:
            raise BadInputError(f"`days` must be between 1 and {_MOST_DAYS:,}, not {days:,}.")
        if key is not None and (not 1 <= len(key) <= _LONGEST_KEY or "\x00" in key):
            raise BadInputError(f"`idempotencyKey` must have 1 to {_LONGEST_KEY} characters.")
        return RefreshScope(coins, currencies, days, self.rebuild, self.only_due), key


def _names(argument: str, names: Sequence[str] | None) -> tuple[str, ...] | None:
    cleaned = clean_all(argument, names)
    return None if cleaned is None else tuple(cleaned)


def _require_tracked(names: tuple[str, ...] | None, tracked: Sequence[str], setting: str) -> None:
    for name in names or ():
        if name not in tracked:  # it may well be kept, from when it was
            raise NotFoundError(f"{short(name)!r} is not tracked: add it to {setting}.")
