"""Names of coins and currencies in arguments, and errors for unknown ones."""

from collections.abc import Callable, Iterable, Sequence

from models import coins as coin_rows
from models.postgres.database import Database
from models.series import SeriesKey
from resolvers.errors import BadInputError, NotFoundError

_MOST_NAMES = 500
LONGEST_NAME = 200  # characters; upstream's ids, tickers and names are cut to as many


def trim(text: str) -> str:
    """Remove surrounding white space.

    Also replace NUL, which PostgreSQL cannot store, by a character that occurs in no name.
    """
    return text.strip().replace("\x00", "\ufffd")


def clean(name: str) -> str:
    """Trim and convert to lower case, as all ids and codes are."""
    return trim(name).lower()


def clean_all(
    argument: str, names: Sequence[str] | None, clean_one: Callable[[str], str] = clean
) -> list[str] | None:
    """Clean a list of names and remove duplicates. None stays None.

    Raises BadInputError for more than 500 names.
    """
    if names is None:
        return None
    if len(names) > _MOST_NAMES:
        raise BadInputError(f"`{argument}` may hold at most {_MOST_NAMES} entries.")
    return list(dict.fromkeys(map(clean_one, names)))


def unknown_coin(coin: str) -> NotFoundError:
    """Return the error for a coin id that is not stored."""
    return NotFoundError(f"There is no coin {short(coin)!r}: `coins` lists those that are stored.")


def unknown_currency(currency: str) -> NotFoundError:
    """Return the error for a currency code that is not stored."""
    return NotFoundError(
        f"There is no currency {short(currency)!r}: `currencies` lists those that are stored."
    )


def short(name: str) -> str:
    """Cut a name for an error message, to at most 60 characters."""
    return name if len(name) <= 60 else name[:59] + "…"  # noqa: PLR2004 - a line's worth


async def known_names(
    database: Database, coins: Sequence[str] | None, currencies: Sequence[str] | None
) -> tuple[list[str] | None, list[str] | None]:
    """Clean both lists. Raises NotFoundError for the first name that is not stored."""
    coin_ids = clean_all("coins", coins)
    codes = clean_all("currencies", currencies)
    if coin_ids:
        stored = await coin_rows.coins_by_id(database, coin_ids)
        for coin in coin_ids:
            if coin not in stored:
                raise unknown_coin(coin)
    if codes:
        known = {currency.code for currency in await coin_rows.all_currencies(database)}
        for code in codes:
            if code not in known:
                raise unknown_currency(code)
    return coin_ids, codes


async def explain_missing(
    database: Database, keys: Iterable[SeriesKey]
) -> dict[SeriesKey, NotFoundError]:
    """Return the error of each missing series: is it the coin, the currency or the pair?"""
    keys = list(keys)
    coins = await coin_rows.coins_by_id(database, [coin for coin, _ in keys])
    currencies = {currency.code for currency in await coin_rows.all_currencies(database)}
    return {key: _explain(key, coins, currencies) for key in keys}


def _explain(key: SeriesKey, coins: Iterable[str], currencies: Iterable[str]) -> NotFoundError:
    coin, currency = key
    if coin not in coins:
        return unknown_coin(coin)
    if currency not in currencies:
        return unknown_currency(currency)
    return NotFoundError(f"{coin} has no prices in {currency}: `seriesStatus` lists all series.")
