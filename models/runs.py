"""Refresh runs: their start, what becomes of each series, their end."""

import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import case, func, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from models.postgres.database import Database, ReadSession, WriteSession
from models.postgres.notifications import notify_run
from models.tables import (
    ItemStatus,
    RefreshRun,
    RefreshRunItem,
    RefreshRunKey,
    RefreshStatus,
    Series,
)

_CALLS_AHEAD = 8
REFRESH_LOCK = 0x636F696E_72656672  # "coinrefr": held by the one run of the deployment
_BIGINT = 2**63 - 1


def new_run_id() -> UUID:
    """Make a UUIDv7, so that ids sort by time (RFC 9562, section 5.7)."""
    random = int.from_bytes(os.urandom(10))
    value = (time.time_ns() // 1_000_000) << 80 | random
    value = value & ~(0xF << 76) | 7 << 76  # version
    value = value & ~(0b11 << 62) | 0b10 << 62  # variant
    return UUID(int=value)


def lock_of(run_id: UUID) -> int:
    """Name the lock by which a run shows that it is alive, from before it can be seen."""
    return run_id.int & _BIGINT


async def insert_run(
    session: WriteSession, run: RefreshRun, items: Sequence[RefreshRunItem]
) -> None:
    """Write a run that begins, with all its items, in the caller's transaction."""
    session.add(run)
    await session.flush()
    session.add_all(items)
    await session.flush()


async def add_progress(
    session: WriteSession, run_id: UUID, known: Mapping[str, float | str | None], **more: int
) -> None:
    """Add to a run's counters: `completed_calls=1, rows_inserted=24, …`.

    `known` is written as it stands: `seconds_per_call`, `retries`, `seconds_waited`, `note`.
    """
    values: dict[str, Any] = {name: getattr(RefreshRun, name) + by for name, by in more.items()}
    await session.execute(
        update(RefreshRun).where(col(RefreshRun.id) == run_id).values(**known, **values)
    )
    await notify_run(session, run_id)


async def finish_item(
    session: WriteSession, run_id: UUID, series_id: int, status: ItemStatus, **values: object
) -> None:
    """Write what became of a series: `calls`, `rows_inserted`, `error`, `note`, …."""
    await session.execute(
        update(RefreshRunItem)
        .where(col(RefreshRunItem.run_id) == run_id, col(RefreshRunItem.series_id) == series_id)
        .values(status=status, finished_at=func.now(), **values)
    )


async def note_costs(
    session: WriteSession, run_id: UUID, costs: Mapping[int, Mapping[str, float | str | None]]
) -> None:
    """Write what the calls for these series have cost: `calls`, `retries`, `seconds_waited`."""
    for series_id, cost in costs.items():
        await session.execute(
            update(RefreshRunItem)
            .where(col(RefreshRunItem.run_id) == run_id, col(RefreshRunItem.series_id) == series_id)
            .values(**cost)
        )


async def append_error(session: WriteSession, run_id: UUID, series_id: int, message: str) -> None:
    """Write what is wrong with a series beside its hours. One that succeeded is PARTIAL then."""
    item = RefreshRunItem
    succeeded = col(item.status) == ItemStatus.SUCCEEDED
    await session.execute(
        update(item)
        .where(col(item.run_id) == run_id, col(item.series_id) == series_id)
        .values(
            status=case((succeeded, ItemStatus.PARTIAL.value), else_=col(item.status)),
            error=func.concat_ws(" ", col(item.error), message),
        )
    )


async def mark_partial(session: WriteSession, run_id: UUID, series_id: int) -> None:
    """Note that a series whose hours failed has its days."""
    item = RefreshRunItem
    await session.execute(
        update(item)
        .where(
            col(item.run_id) == run_id,
            col(item.series_id) == series_id,
            col(item.status) == ItemStatus.FAILED,
        )
        .values(status=ItemStatus.PARTIAL)
    )


async def finish_run(
    session: WriteSession, run_id: UUID, status: RefreshStatus, error: str | None
) -> None:
    """End a run, unless it is ended. Series that were not reached share its fate.

    The calls for those of a failed run failed with it; an interrupted one shows how far it got.
    """
    left = ItemStatus.INTERRUPTED if status is RefreshStatus.INTERRUPTED else ItemStatus.FAILED
    counters: dict[str, Any] = {}
    if status is RefreshStatus.FAILED:
        counters = {"failed_calls": RefreshRun.planned_calls - RefreshRun.completed_calls}
    await session.execute(
        update(RefreshRunItem)
        .where(
            col(RefreshRunItem.run_id) == run_id,
            col(RefreshRunItem.status) == ItemStatus.PENDING,
        )
        .values(status=left, error=error, finished_at=func.now())
    )
    await session.execute(
        update(RefreshRun)
        .where(col(RefreshRun.id) == run_id, col(RefreshRun.status) == RefreshStatus.RUNNING)
        .values(status=status, error=error, finished_at=func.now(), **counters)
    )
    await notify_run(session, run_id)


async def interrupt_dead_runs(session: WriteSession) -> list[UUID]:
    """Mark what a killed process left RUNNING. Call it while holding REFRESH_LOCK."""
    rows = await session.scalars(
        select(col(RefreshRun.id)).where(col(RefreshRun.status) == RefreshStatus.RUNNING)
    )
    dead = list(rows)
    for run_id in dead:
        error = "Its process was killed, or lost its connection to the database."
        await finish_run(session, run_id, RefreshStatus.INTERRUPTED, error)
    return dead


async def is_alive(session: ReadSession, run_id: UUID) -> bool:
    """Tell whether a process works on this run, which may have ended since it was read."""
    # shared, so that two who look at once do not take each other for the run
    probe = text("SELECT pg_try_advisory_xact_lock_shared(:key)")
    return not await session.scalar(probe, {"key": lock_of(run_id)})


# Refreshes by schedule leave out what is not due, and are of everything all the same.
_OF_EVERYTHING = col(RefreshRun.request).op("-")(literal_column("'only_due'")) == {}


async def last_full_run(session: ReadSession, before: datetime) -> RefreshRun | None:
    """Find the newest run that asked for everything, whoever asked; not one that was cut short.

    Nor one that says it began at `before` or later.
    """
    query = (
        select(RefreshRun)
        .where(
            _OF_EVERYTHING,
            col(RefreshRun.status) != RefreshStatus.INTERRUPTED,
            col(RefreshRun.started_at) < before,
        )
        .order_by(col(RefreshRun.id).desc())
        .limit(1)
    )
    return (await session.scalars(query)).first()


async def failures_in_a_row(session: ReadSession, before: datetime) -> int:
    """Count the newest runs of everything that failed, one after the other; no more than 20.

    Those that were cut short, or say that they began at `before` or later, do not count.
    """
    query = (
        select(col(RefreshRun.status))
        .where(
            _OF_EVERYTHING,
            col(RefreshRun.status) != RefreshStatus.INTERRUPTED,
            col(RefreshRun.started_at) < before,
        )
        .order_by(col(RefreshRun.id).desc())
        .limit(20)
    )
    statuses = await session.scalars(query)
    return len(list(takewhile(lambda status: status == RefreshStatus.FAILED, statuses)))


async def series_of_run(session: ReadSession, run_id: UUID) -> set[tuple[str, str]]:
    """List what a run works on, as (coin, currency)."""
    query = (
        select(col(Series.coin_id), col(Series.currency_code))
        .join(RefreshRunItem, col(Series.id) == col(RefreshRunItem.series_id))
        .where(col(RefreshRunItem.run_id) == run_id)
    )
    return {(coin, currency) for coin, currency in await session.execute(query)}


# One statement, because schedulers are answered while readers keep the process busy. The lock is
# that of `lock_of`: the last 63 bits of the id.
_UNDER_WAY = """
    SELECT (SELECT run_id FROM refresh_run_key WHERE key = $1) AS bound, run.*
    FROM (SELECT 1) AS always LEFT JOIN (
        SELECT id, request::text, started_at, planned_calls, completed_calls, failed_calls,
               seconds_per_call,
               NOT pg_try_advisory_xact_lock_shared(
                   ('x' || right(replace(id::text, '-', ''), 16))::bit(64)::bigint & $2
               ) AS alive
        FROM refresh_run WHERE status = 'RUNNING' ORDER BY id DESC LIMIT 1
    ) AS run ON run.alive
"""


async def run_under_way(
    database: Database, key: str | None
) -> tuple[UUID | None, RefreshRun | None]:
    """Find the run that this key is bound to, and the one that some process works on.

    Of the latter, what was asked for, how far it is and its pace are there.
    """
    (row,) = await database.fetch(_UNDER_WAY, key, _BIGINT)
    found = dict(row)
    bound, alive = found.pop("bound"), found.pop("alive")
    if not alive:
        return bound, None
    found["request"] = orjson.loads(found["request"])
    return bound, RefreshRun(**found, status=RefreshStatus.RUNNING)


async def bind_key(session: WriteSession, key: str, run_id: UUID) -> UUID:
    """Bind a key to a run, unless it is bound already; tell which run it is bound to."""
    mine = insert(RefreshRunKey).values(key=key, run_id=run_id)
    # an update that changes nothing, so that the row is returned in any case
    kept = mine.on_conflict_do_update(
        index_elements=[col(RefreshRunKey.key)], set_={"key": mine.excluded.key}
    )
    return (await session.scalars(kept.returning(col(RefreshRunKey.run_id)))).one()


async def runs_by_id(session: ReadSession, ids: Sequence[UUID]) -> dict[UUID, RefreshRun]:
    rows = await session.scalars(select(RefreshRun).where(col(RefreshRun.id).in_(ids)))
    return {run.id: run for run in rows}


async def page_of_runs(session: ReadSession, *, after: UUID | None, limit: int) -> list[RefreshRun]:
    """List runs, the newest first, from the one behind `after` on."""
    query = select(RefreshRun).order_by(col(RefreshRun.id).desc()).limit(limit)
    if after is not None:
        query = query.where(col(RefreshRun.id) < after)
    return list(await session.scalars(query))


async def count_runs(session: ReadSession) -> int:
    return (await session.scalars(select(func.count()).select_from(RefreshRun))).one()


async def items_of_runs(
    session: ReadSession, run_ids: Sequence[UUID]
) -> dict[UUID, list[tuple[RefreshRunItem, Series]]]:
    """Read the items of these runs with their series, in the order they are worked on."""
    rows = await session.execute(
        select(RefreshRunItem, Series)
        .join(Series, col(Series.id) == col(RefreshRunItem.series_id))
        .where(col(RefreshRunItem.run_id).in_(run_ids))
        .order_by(col(RefreshRunItem.position))
    )
    found: dict[UUID, list[tuple[RefreshRunItem, Series]]] = {run_id: [] for run_id in run_ids}
    for item, series in rows:
        found[item.run_id].append((item, series))
    return found


def seconds_left(run: RefreshRun, now: datetime) -> float | None:
    """Estimate how long a running run still takes, from its pace so far. None when it is over.

    Calls are counted once what they brought is stored, so some are always ahead of the count: the
    pace that is seen counts only when it is slower even with them.
    """
    if run.status != RefreshStatus.RUNNING:
        return None
    done = run.completed_calls + run.failed_calls
    elapsed = (now - run.started_at).total_seconds()
    pace = max(run.seconds_per_call, elapsed / (done + _CALLS_AHEAD))
    return max(0, run.planned_calls - done) * pace


MOST_RUNS = 10_000
MOST_DAYS = 400
_AT_ONCE = 500  # so that the first time, after years without, is short too

# Ids sort by time, and the primary key has them in order: 10,000 entries of it take 1 ms.
_PRUNE = text("""
    DELETE FROM refresh_run WHERE id IN (
        SELECT id FROM refresh_run
        WHERE status <> 'RUNNING' AND (
            started_at < now() - make_interval(days => :days)
            OR id <= (SELECT id FROM refresh_run ORDER BY id DESC OFFSET :runs LIMIT 1)
        )
        ORDER BY id LIMIT :at_once
    )
""")


async def prune_runs(session: WriteSession, *, runs: int = MOST_RUNS, days: int = MOST_DAYS) -> int:
    """Delete the oldest runs beyond so many and older than so many days, some of them at a time.

    What became of their series and their keys go with them. Tells how many it deleted.
    """
    result = await session.execute(_PRUNE, {"runs": runs, "days": days, "at_once": _AT_ONCE})
    return int(result.rowcount)  # type: ignore[attr-defined] # a DELETE's result has it
