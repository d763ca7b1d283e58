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
    """Which coins to list. None asks for all; symbols and search go without regard to case.

    `among` and `beside` are ids as well: one of these, none of these.
    """

    ids: Sequence[str] | None = None
    symbols: Sequence[str] | None = None
    search: str | None = None
    among: Sequence[str] | None = None
    beside: Sequence[str] | None = None

    def condition(self) -> tuple[str, str, list[object]]:
        """Give the SQL condition, the SQL of CoinFacts.rank, and the arguments of both."""
        parts, rank, arguments = ["true"], "0", list[object]()
        for ids, operator in (
            (self.ids, "= ANY"),
            (self.among, "= ANY"),
            (self.beside, "<> ALL"),
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
    """Take the case away. Upper case first: Greek has two small letters for one great sigma."""
    return f"lower(upper({text}))"


_NAMES = ("id", "symbol", "name")
# strpos, not LIKE: % and _ are letters like any other
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

    `rank` tells how well it matches a search, 0 the best: the symbol itself, the id or the name
    itself, the beginning of one of them, a part of one.
    """

    id: str
    symbol: str
    name: str
    created_at: datetime
    updated_at: datetime
    rank: int = 0


@dataclass(frozen=True, slots=True)
class CoinMetadataFacts:
    """A coin's metadata. `updated_at`: when upstream was last asked for it."""

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
    """Make sure that these coins, these currencies and each pair's series are there.

    What is there already is left as it is: a refresh may know a better name.
    """
    if not coins or not currencies:
        return
    # In one order, so that two processes which seed at once do not wait for each other.
    coins = sorted(coins, key=lambda coin: coin.id)
    currencies = sorted(currencies, key=lambda currency: currency.code)
    await _add(session, Coin, [{"id": c.id, "symbol": c.symbol, "name": c.name} for c in coins])
    await _add(
        session,
        Currency,
        [{"code": c.code, "name": c.name, "symbol": c.symbol} for c in currencies],
    )
    # An insert that conflicts still takes a number of the identity, so ask first.
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
    """Insert what is not there yet; row by row, as one statement has only 32,767 parameters."""
    await session.execute(insert(table).on_conflict_do_nothing(), rows)


async def coins_by_id(database: Database, ids: Sequence[str]) -> dict[str, CoinFacts]:
    rows = await database.fetch(f"SELECT {_COLUMNS} FROM coin WHERE id = ANY($1::text[])", ids)  # noqa: S608 - made of constants
    return {row["id"]: CoinFacts(*row) for row in rows}


async def page_of_coins(
    database: Database, match: CoinMatch, *, after: tuple[int, str] | None, limit: int
) -> list[CoinFacts]:
    """List coins by rank and id, from the one behind `after` on."""
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
    condition, _, arguments = match.condition()
    [row] = await database.fetch(f"SELECT count(*) FROM coin WHERE {condition}", *arguments)  # noqa: S608 - made of constants
    number: int = row[0]
    return number


async def metadata_by_coin(database: Database, ids: Sequence[str]) -> dict[str, CoinMetadataFacts]:
    rows = await database.fetch(_PROFILES, ids)
    return {row[0]: CoinMetadataFacts(*row) for row in rows}


async def all_currencies(database: Database) -> list[CurrencyFacts]:
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
    """Which of these coins have no metadata, or only some from before `older_than`."""
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
    """Keep what upstream says of a tracked coin. `metadata`: description, image_url, website_url.

    A symbol or a name of None leaves the one that is stored.
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
