"""Coins and currencies."""

from collections.abc import Collection, Sequence

from models import coins as coin_rows
from models.coins import CoinFacts, CoinMatch, CurrencyFacts
from models.postgres.database import Database
from resolvers.cache_dependencies import Footprint
from resolvers.names import LONGEST_NAME, clean, clean_all, trim, unknown_coin
from resolvers.pagination import (
    Page,
    check_first,
    decode_cursor,
    encode_cursor,
    make_page,
    strange_cursor,
)

_CURSORS, _MATCH_CURSORS = "coin", "match"


async def coin(database: Database, footprint: Footprint, coin_id: str) -> CoinFacts:
    """Find one coin. Raises NotFoundError."""
    footprint.catalogue()
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
    """Check a filter. An empty list matches nothing; an empty search matches everything.

    A name or search of more than LONGEST_NAME characters matches nothing. Raises BadInputError.

    `tracked` asks for those of `tracked_ids`, or for the others.
    """
    search = trim(search or "") or None
    if search is not None and len(search) > LONGEST_NAME:  # a part of no name
        search, ids = None, []
    return CoinMatch(
        among=sorted(tracked_ids) if tracked is True else None,
        excluding=sorted(tracked_ids) if tracked is False else None,
        ids=_possible(clean_all("ids", ids)),
        symbols=_possible(clean_all("symbols", symbols, trim)),
        search=search,
    )


def _possible(names: list[str] | None) -> list[str] | None:
    """Leave out what is too long to be any coin's: it matches nothing, and costs time."""
    return None if names is None else [name for name in names if len(name) <= LONGEST_NAME]


async def page(
    database: Database, footprint: Footprint, match: CoinMatch, first: int, after: str | None
) -> Page[CoinFacts]:
    """List a page of coins: by id, or the best matches of a search first."""
    footprint.catalogue()
    check_first(first)
    kind = _CURSORS if match.search is None else _MATCH_CURSORS
    behind = None if after is None else _place(decode_cursor(kind, after))
    rows = await coin_rows.page_of_coins(database, match, after=behind, limit=first + 1)
    return make_page(rows, first, after, lambda row: encode_cursor(kind, f"{row.rank}:{row.id}"))


def _place(key: str) -> tuple[int, str]:
    rank, _, coin_id = key.partition(":")
    if len(rank) != 1 or rank not in "0123" or not coin_id:
        raise strange_cursor()
    return int(rank), coin_id


async def count(database: Database, footprint: Footprint, match: CoinMatch) -> int:
    footprint.catalogue()
    return await coin_rows.count_coins(database, match)


async def currencies(database: Database, footprint: Footprint) -> list[CurrencyFacts]:
    footprint.catalogue()
    return await coin_rows.all_currencies(database)
