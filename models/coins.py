"""Coins, their metadata, and currencies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import SQLModel, col

from models.database import ReadSession, WriteSession
from models.notifications import tell_catalogue
from models.tables import Coin, CoinMetadata, Currency, Series


@dataclass(frozen=True, slots=True)
class CoinMatch:
    """Which coins to list. None asks for all; texts are matched without regard to case."""

    ids: Sequence[str] | None = None
    symbols: Sequence[str] | None = None
    search: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        wanted: list[ColumnElement[bool]] = []
        if self.ids is not None:
            wanted.append(col(Coin.id).in_(self.ids))
        if self.symbols is not None:
            symbols = [symbol.lower() for symbol in self.symbols]
            wanted.append(func.lower(col(Coin.symbol)).in_(symbols))
        if self.search is not None:
            columns = (Coin.id, Coin.symbol, Coin.name)
            wanted.append(or_(*(col(c).icontains(self.search, autoescape=True) for c in columns)))
        return wanted


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
    await tell_catalogue(session)


async def _add(
    session: WriteSession, table: type[SQLModel], rows: Sequence[Mapping[str, str]]
) -> None:
    """Insert what is not there yet; row by row, as one statement has only 32,767 parameters."""
    await session.execute(insert(table).on_conflict_do_nothing(), rows)


async def coins_by_id(session: ReadSession, ids: Sequence[str]) -> dict[str, Coin]:
    rows = await session.scalars(select(Coin).where(col(Coin.id).in_(ids)))
    return {coin.id: coin for coin in rows}


async def page_of_coins(
    session: ReadSession, match: CoinMatch, *, after: str | None, limit: int
) -> list[Coin]:
    """List coins in the order of their ids, from the one behind `after` on."""
    query = select(Coin).where(*match.conditions()).order_by(col(Coin.id)).limit(limit)
    if after is not None:
        query = query.where(col(Coin.id) > after)
    return list(await session.scalars(query))


async def count_coins(session: ReadSession, match: CoinMatch) -> int:
    return (
        await session.scalars(select(func.count()).select_from(Coin).where(*match.conditions()))
    ).one()


async def metadata_by_coin(session: ReadSession, ids: Sequence[str]) -> dict[str, CoinMetadata]:
    rows = await session.scalars(select(CoinMetadata).where(col(CoinMetadata.coin_id).in_(ids)))
    return {row.coin_id: row for row in rows}


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
    symbol: str,
    name: str,
    metadata: Mapping[str, str | None],
) -> None:
    """Keep what upstream says of a coin. `metadata`: description, image_url, website_url."""
    names = {"symbol": symbol, "name": name}
    changed = or_(col(Coin.symbol) != symbol, col(Coin.name) != name)
    await session.execute(
        insert(Coin)
        .values(id=coin_id, **names)
        .on_conflict_do_update(
            index_elements=["id"], set_={**names, "updated_at": func.now()}, where=changed
        )
    )
    await session.execute(
        insert(CoinMetadata)
        .values(coin_id=coin_id, **metadata)
        .on_conflict_do_update(
            index_elements=["coin_id"], set_={**metadata, "updated_at": func.now()}
        )
    )
    await tell_catalogue(session)


async def all_currencies(session: ReadSession) -> list[Currency]:
    return list(await session.scalars(select(Currency).order_by(col(Currency.code))))
