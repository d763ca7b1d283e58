"""Coins and currencies: one by id, pages, and counts."""

from collections.abc import Collection, Sequence

from models import coins as coin_rows
from models.coins import CoinFacts, CoinMatch, CurrencyFacts
from models.postgres.database import Database
from resolvers.cache_dependencies import CacheDependencies
from resolvers.names import LONGEST_NAME, clean, clean_all, trim, unknown_coin
from resolvers.pagination import (
    Page,
    check_first,
    decode_cursor,
    encode_cursor,
    invalid_cursor,
    make_page,
)

_CURSORS, _MATCH_CURSORS = "coin", "match"


async def coin(database: Database, dependencies: CacheDependencies, coin_id: str) -> CoinFacts:
    """Return one coin. Raises NotFoundError."""
    dependencies.add_catalogue()
    key = clean(coin_id)
    found = (await coin_rows.coins_by_id(database, [key])).get(key)
    if found is None:
        raise unknown_coin(key)
    return found


def coin_match(
    ids: Sequence[str] | None,
    symbols: Sequence[str] | None,
    search: str | None,
    *,
    tracked: bool | None = None,
    tracked_ids: Collection[str] = (),
) -> CoinMatch:
    """Validate a filter. An empty list matches nothing; an empty search matches everything.

    A name or search longer than LONGEST_NAME characters matches nothing. `tracked` selects the
    coins in `tracked_ids` (True) or all others (False). Raises BadInputError.
    """
    search = trim(search or "") or None
    if search is not None and len(search) > LONGEST_NAME:  # longer than any name
        search, ids = None, []
    return CoinMatch(
        among=sorted(tracked_ids) if tracked is True else None,
        excluding=sorted(tracked_ids) if tracked is False else None,
        ids=_possible(clean_all("ids", ids)),
        symbols=_possible(clean_all("symbols", symbols, trim)),
        search=search,
    )


def _possible(names: list[str] | None) -> list[str] | None:
    """Remove names that are too long to match: they would only cost time."""
    return None if names is None else [name for name in names if len(name) <= LONGEST_NAME]


async def page(
    database: Database,
    dependencies: CacheDependencies,
    match: CoinMatch,
    first: int,
    after: str | None,
) -> Page[CoinFacts]:
    """Return a page of coins, sorted by id or, with a search, by how well they match.

    Raises BadInputError.
    """
    dependencies.add_catalogue()
    check_first(first)
    kind = _CURSORS if match.search is None else _MATCH_CURSORS
    behind = None if after is None else _place(decode_cursor(kind, after))
    rows = await coin_rows.page_of_coins(database, match, after=behind, limit=first + 1)
    return make_page(rows, first, after, lambda row: encode_cursor(kind, f"{row.rank}:{row.id}"))


def _place(key: str) -> tuple[int, str]:
    rank, _, coin_id = key.partition(":")
    if len(rank) != 1 or rank not in "0123" or not coin_id:
        raise invalid_cursor()
    return int(rank), coin_id


async def count(database: Database, dependencies: CacheDependencies, match: CoinMatch) -> int:
    """Return the number of coins that match."""
    dependencies.add_catalogue()
    return await coin_rows.count_coins(database, match)


async def currencies(database: Database, dependencies: CacheDependencies) -> list[CurrencyFacts]:
    """Return all stored currencies, sorted by code."""
    dependencies.add_catalogue()
    return await coin_rows.all_currencies(database)
