"""Coins, their metadata, and currencies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import SQLModel, col

from models.postgres.database import Database, ReadSession, WriteSession
from models.postgres.notifications import notify_catalogue
from models.tables import Coin, CoinMetadata, Currency, Series


@dataclass(frozen=True, slots=True)
class CoinMatch:
    """The filter of a list of coins. None matches all; symbols and search ignore case.

    `ids` and `among` list ids of which the coin must have one; it must have none of `excluding`.
    """

    ids: Sequence[str] | None = None
    symbols: Sequence[str] | None = None
    search: str | None = None
    among: Sequence[str] | None = None
    excluding: Sequence[str] | None = None

    def condition(self) -> tuple[str, str, list[object]]:
        """Return the SQL condition, the SQL of CoinFacts.rank, and the arguments of both."""
        parts, rank, arguments = ["true"], "0", list[object]()
        for ids, operator in (
            (self.ids, "= ANY"),
            (self.among, "= ANY"),
            (self.excluding, "<> ALL"),
        ):
            if ids is not None:
                arguments.append(ids)
                parts.append(f"id {operator} (${len(arguments)}::text[])")
        if self.symbols is not None:
            arguments.append(self.symbols)
            wanted = f"SELECT {_folded('one')} FROM unnest(${len(arguments)}::text[]) AS one"  # noqa: S608 - made of constants
            parts.append(f"{_folded('symbol')} IN ({wanted})")
        if self.search is not None:
            arguments.append(self.search)
            wanted = _folded(f"${len(arguments)}::text")
            rank = _RANK.format(wanted=wanted, **{name: _folded(name) for name in _NAMES})
            parts.append(f"({rank}) IS NOT NULL")
        return " AND ".join(parts), rank, arguments


def _folded(text: str) -> str:
    """Return SQL that folds case. Upper case first: Greek has two lower-case forms of sigma."""
    return f"lower(upper({text}))"


_NAMES = ("id", "symbol", "name")
# strpos instead of LIKE, because % and _ are ordinary characters here
_RANK = """
    CASE
        WHEN {symbol} = {wanted} THEN 0
        WHEN {wanted} IN ({id}, {name}) THEN 1
        WHEN 1 IN (strpos({id}, {wanted}), strpos({symbol}, {wanted}), strpos({name}, {wanted}))
            THEN 2
        WHEN strpos({id}, {wanted}) + strpos({symbol}, {wanted}) + strpos({name}, {wanted}) > 0
            THEN 3
    END
"""


@dataclass(frozen=True, slots=True)
class CoinFacts:
    """A coin's row.

    `rank` is the quality of the match with a search: 0 if it equals the symbol, 1 the id or name, 2
    the beginning of one of them, 3 a part of one.
    """

    id: str
    symbol: str
    name: str
    created_at: datetime
    updated_at: datetime
    rank: int = 0


@dataclass(frozen=True, slots=True)
class CoinMetadataFacts:
    """A coin's metadata. `updated_at` is when it was last fetched from upstream."""

    coin_id: str
    description: str | None
    image_url: str | None
    website_url: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CurrencyFacts:
    """A currency's row."""

    code: str
    name: str
    symbol: str


async def seed(
    session: WriteSession, coins: Sequence[Coin], currencies: Sequence[Currency]
) -> None:
    """Insert these coins, these currencies and the series of each pair, unless they exist.

    Existing rows do not change: a refresh may have stored a better name.
    """
    if not coins or not currencies:
        return
    # In a fixed order, so that two processes that seed at once cannot deadlock.
    coins = sorted(coins, key=lambda coin: coin.id)
    currencies = sorted(currencies, key=lambda currency: currency.code)
    await _add(session, Coin, [{"id": c.id, "symbol": c.symbol, "name": c.name} for c in coins])
    await _add(
        session,
        Currency,
        [{"code": c.code, "name": c.name, "symbol": c.symbol} for c in currencies],
    )
    # A conflicting insert still consumes an identity value, so look first.
    keys = await session.execute(select(col(Series.coin_id), col(Series.currency_code)))
    known = {tuple(key) for key in keys}
    pairs = [
        {"coin_id": coin.id, "currency_code": currency.code}
        for currency in currencies
        for coin in coins
        if (coin.id, currency.code) not in known
    ]
    if pairs:
        await _add(session, Series, pairs)
    await notify_catalogue(session)


async def _add(
    session: WriteSession, table: type[SQLModel], rows: Sequence[Mapping[str, str]]
) -> None:
    """Insert missing rows, one by one: a statement can have only 32,767 parameters."""
    await session.execute(insert(table).on_conflict_do_nothing(), rows)


async def coins_by_id(database: Database, ids: Sequence[str]) -> dict[str, CoinFacts]:
    """Read coins by id. Unknown ids are left out."""
    rows = await database.fetch(f"SELECT {_COLUMNS} FROM coin WHERE id = ANY($1::text[])", ids)  # noqa: S608 - made of constants
    return {row["id"]: CoinFacts(*row) for row in rows}


async def page_of_coins(
    database: Database, match: CoinMatch, *, after: tuple[int, str] | None, limit: int
) -> list[CoinFacts]:
    """List at most `limit` coins by rank and id, starting after the (rank, id) `after`."""
    condition, rank, arguments = match.condition()
    if after is not None:
        arguments += after
        place = len(arguments)
        condition += f" AND ({rank}, id) > (${place - 1}::int, ${place}::text)"
    arguments.append(limit)
    rows = await database.fetch(
        f"SELECT {_COLUMNS}, {rank} AS rank FROM coin WHERE {condition}"  # noqa: S608 - made of constants
        f" ORDER BY rank, id LIMIT ${len(arguments)}",
        *arguments,
    )
    return [CoinFacts(*row) for row in rows]


async def count_coins(database: Database, match: CoinMatch) -> int:
    """Count the coins that match."""
    condition, _, arguments = match.condition()
    [row] = await database.fetch(f"SELECT count(*) FROM coin WHERE {condition}", *arguments)  # noqa: S608 - made of constants
    number: int = row[0]
    return number


async def metadata_by_coin(database: Database, ids: Sequence[str]) -> dict[str, CoinMetadataFacts]:
    """Read the metadata of these coins. Coins without any are left out."""
    rows = await database.fetch(_PROFILES, ids)
    return {row[0]: CoinMetadataFacts(*row) for row in rows}


async def all_currencies(database: Database) -> list[CurrencyFacts]:
    """List all currencies by code."""
    rows = await database.fetch("SELECT code, name, symbol FROM currency ORDER BY code")
    return [CurrencyFacts(*row) for row in rows]


_COLUMNS = "id, symbol, name, created_at, updated_at"
_PROFILES = """
    SELECT coin_id, description, image_url, website_url, updated_at
    FROM coin_metadata WHERE coin_id = ANY($1::text[])
"""


async def coins_wanting_metadata(
    session: ReadSession, ids: Sequence[str], *, older_than: datetime
) -> list[str]:
    """List those of these coins whose metadata is missing or from before `older_than`, by id."""
    fresh = select(col(CoinMetadata.coin_id)).where(col(CoinMetadata.updated_at) >= older_than)
    rows = await session.scalars(
        select(col(Coin.id))
        .where(col(Coin.id).in_(ids), col(Coin.id).not_in(fresh))
        .order_by(col(Coin.id))
    )
    return list(rows)


async def save_profile(
    session: WriteSession,
    coin_id: str,
    *,
    symbol: str | None,
    name: str | None,
    metadata: Mapping[str, str | None],
) -> None:
    """Store a tracked coin's profile. `metadata`: description, image_url and website_url.

    A symbol or name of None keeps the stored one.
    """
    names = {key: value for key, value in (("symbol", symbol), ("name", name)) if value is not None}
    if names:
        changed = or_(*(getattr(Coin, key) != value for key, value in names.items()))
        await session.execute(
            update(Coin)
            .where(col(Coin.id) == coin_id, changed)
            .values(**names, updated_at=func.now())
        )
    await session.execute(
        insert(CoinMetadata)
        .values(coin_id=coin_id, **metadata)
        .on_conflict_do_update(
            index_elements=["coin_id"], set_={**metadata, "updated_at": func.now()}
        )
    )
    await notify_catalogue(session)
