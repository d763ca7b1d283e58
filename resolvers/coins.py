"""Coins and currencies."""

from collections.abc import Sequence

from models import coins as coin_rows
from models.coins import CoinMatch
from models.database import Database
from models.tables import Coin, Currency
from resolvers.errors import BadInputError
from resolvers.names import clean, unknown_coin
from resolvers.pages import Page, check_first, decode_cursor, make_page

_MOST_NAMES = 500


async def coin(database: Database, coin_id: str) -> Coin:
    """Find one coin. Raises NotFoundError."""
    key = clean(coin_id)
    async with database.read() as session:
        found = (await coin_rows.coins_by_id(session, [key])).get(key)
    if found is None:
        raise unknown_coin(key)
    return found


def coin_match(
    ids: Sequence[str] | None, symbols: Sequence[str] | None, search: str | None
) -> CoinMatch:
    """Check a filter. An empty list matches nothing; an empty search matches everything."""
    for name, values in (("ids", ids), ("symbols", symbols)):
        if values is not None and len(values) > _MOST_NAMES:
            raise BadInputError(f"`{name}` may hold at most {_MOST_NAMES} entries.")
    return CoinMatch(
        ids=None if ids is None else [clean(i) for i in ids],
        symbols=None if symbols is None else [clean(s) for s in symbols],
        search=clean(search) or None if search is not None else None,
    )


async def page(database: Database, match: CoinMatch, first: int, after: str | None) -> Page[Coin]:
    """List a page of coins by id."""
    check_first(first)
    behind = None if after is None else decode_cursor(after)
    async with database.read() as session:
        rows = await coin_rows.page_of_coins(session, match, after=behind, limit=first + 1)
    return make_page(rows, first, lambda row: row.id, after)


async def count(database: Database, match: CoinMatch) -> int:
    async with database.read() as session:
        return await coin_rows.count_coins(session, match)


async def currencies(database: Database) -> list[Currency]:
    async with database.read() as session:
        return await coin_rows.all_currencies(session)
