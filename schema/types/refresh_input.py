"""The input of `refreshPrices` and `refreshPlan`."""

from collections.abc import Sequence

import strawberry

from resolvers.errors import BadInputError, NotFoundError
from resolvers.names import clean_all, short
from schema.refresh_service import RefreshScope, RefreshService
from schema.scalars import given

_MOST_DAYS = 3650
_LONGEST_KEY = 200


@strawberry.input(description="What to refresh. All fields are optional.")
class RefreshPricesInput:
    """What to refresh."""

    coins: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET,
        description="The ids of the coins to refresh, at most 500. Default: all tracked coins. An "
        "id that is not in the setting COINS fails with the code NOT_FOUND; an empty list fails "
        "with the code BAD_USER_INPUT.",
    )
    currencies: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET,
        description="The codes of the currencies to refresh, at most 500. Default: all tracked "
        "currencies. A code that is not in the setting CURRENCIES fails with the code NOT_FOUND; "
        "an empty list fails with the code BAD_USER_INPUT.",
    )
    days: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="Fetch this many days back from now, 1 to 3,650, whether stored or not. "
        "Default: only what is missing.",
    )
    rebuild: bool = strawberry.field(
        default=False,
        description="Fetch the whole history again and replace the stored one, each series in one "
        "transaction. A series that cannot be fetched keeps its stored prices.",
    )
    only_due: bool = strawberry.field(
        default=False,
        description="Skip gaps that CoinGecko recently had no data for; they are asked for again "
        "later, at growing intervals. Intended for schedulers, because it limits the monthly "
        "cost. False: ask for everything that is missing.",
    )
    wait: bool = strawberry.field(
        default=False,
        description="Respond only after the run has ended. Intended for manual use and tests; a "
        "scheduler should poll `refreshRun` instead.",
    )
    idempotency_key: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="A key chosen by the caller, 1 to 200 characters. Requests with the same key "
        "always return the same run, even after it has ended, whatever their other arguments are.",
    )

    def checked(self, refresher: RefreshService) -> tuple[RefreshScope, str | None]:
        """Return what to refresh, and the idempotency key.

        Raises NotFoundError for a name that is not in COINS or CURRENCIES, and BadInputError.
        """
        coins = _names("coins", given(self.coins))
        currencies = _names("currencies", given(self.currencies))
        _require_tracked(coins, refresher.coins, "COINS")
        _require_tracked(currencies, refresher.currencies, "CURRENCIES")
        days, key = given(self.days), given(self.idempotency_key)
        if () in (coins, currencies):
            raise BadInputError("An empty list selects nothing: leave it out to refresh all.")
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
        if name not in tracked:  # it may still be stored
            raise NotFoundError(f"{short(name)!r} is not tracked: add it to {setting}.")
