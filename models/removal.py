"""Removes a coin and all its rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import ColumnElement, Table, delete, func, select
from sqlmodel import SQLModel, col

from models.postgres.database import Database, ReadSession, WriteSession
from models.postgres.notifications import notify_anything
from models.prices.write_order import LOCK_SERIES
from models.tables import Coin, Series

# All tables whose rows belong to series.
_OF_SERIES = [table for table in SQLModel.metadata.sorted_tables if "series_id" in table.columns]
TRACKING = 0x636F696E  # "coin": the class of the advisory locks that show what servers track
_OTHERS = """
    SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND objsubid = 2 AND granted
      AND datname = current_database() AND classid = $1::bigint AND objid <> $2::bigint
"""


@dataclass(frozen=True, slots=True)
class RowCount:
    """The number of rows that a table holds for a coin."""

    table: str
    rows: int


def tracking_mark(coins: Iterable[str]) -> tuple[int, int]:
    """Return the (class, object) key of the lock that a server tracking these coins holds."""
    digest = sha256("\n".join(sorted(set(coins))).encode(errors="surrogatepass")).digest()
    return TRACKING, int.from_bytes(digest[:4]) >> 1  # an int4


async def servers_tracking_others(database: Database, coins: Iterable[str]) -> int:
    """Count the running server processes that track a different set of coins."""
    [(count,)] = await database.fetch(_OTHERS, *tracking_mark(coins))
    return int(count)


async def count_rows_of_coin(session: ReadSession, coin_id: str) -> list[RowCount]:
    """Count the rows of a coin, table by table; an empty list if there is no such coin."""
    if await session.get(Coin, coin_id) is None:
        return []
    parts = _parts(coin_id, await _series_of(session, coin_id))
    counts = []
    for table, condition in parts:
        rows = await session.scalar(select(func.count()).select_from(table).where(condition))
        counts.append(RowCount(table.name, rows or 0))
    return counts


async def remove_coin(session: WriteSession, coin_id: str) -> None:
    """Delete a coin and all its rows. On commit, every cache is notified."""
    ids = await _series_of(session, coin_id)
    await session.execute(LOCK_SERIES, {"series": ids})
    for table, condition in _parts(coin_id, ids):
        await session.execute(delete(table).where(condition))
    await notify_anything(session)


async def _series_of(session: ReadSession, coin_id: str) -> list[int]:
    found = await session.scalars(select(col(Series.id)).where(col(Series.coin_id) == coin_id))
    return list(found)


def _parts(coin_id: str, ids: Sequence[int]) -> list[tuple[Table, ColumnElement[bool]]]:
    """Return the tables that hold rows of a coin, with conditions, in the order of deletion."""
    tables = SQLModel.metadata.tables
    return [
        *((table, table.c.series_id.in_(ids)) for table in _OF_SERIES),
        (tables["series"], tables["series"].c.coin_id == coin_id),
        (tables["coin_metadata"], tables["coin_metadata"].c.coin_id == coin_id),
        (tables["coin"], tables["coin"].c.id == coin_id),
    ]
