"""Refresh runs: their start, the outcome of each series, and their end."""

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
    """Create a UUIDv7, so that ids sort by time (RFC 9562, section 5.7)."""
    random = int.from_bytes(os.urandom(10))
    value = (time.time_ns() // 1_000_000) << 80 | random
    value = value & ~(0xF << 76) | 7 << 76  # version
    value = value & ~(0b11 << 62) | 0b10 << 62  # variant
    return UUID(int=value)


def lock_of(run_id: UUID) -> int:
    """Return the key of the lock that a run holds from before it is visible until it ends."""
    return run_id.int & _BIGINT


async def insert_run(
    session: WriteSession, run: RefreshRun, items: Sequence[RefreshRunItem]
) -> None:
    """Insert a new run and all its items, in the caller's transaction."""
    session.add(run)
    await session.flush()
    session.add_all(items)
    await session.flush()


async def add_progress(
    session: WriteSession, run_id: UUID, known: Mapping[str, float | str | None], **more: int
) -> None:
    """Add to a run's counters: `completed_calls=1, rows_inserted=24, …`.

    `known` replaces values: `seconds_per_call`, `retries`, `seconds_waited`, `note`.
    """
    values: dict[str, Any] = {name: getattr(RefreshRun, name) + by for name, by in more.items()}
    await session.execute(
        update(RefreshRun).where(col(RefreshRun.id) == run_id).values(**known, **values)
    )
    await notify_run(session, run_id)


async def finish_item(
    session: WriteSession, run_id: UUID, series_id: int, status: ItemStatus, **values: object
) -> None:
    """Write the outcome of a series: `status`, and `calls`, `rows_inserted`, `error`, `note`, …."""
    await session.execute(
        update(RefreshRunItem)
        .where(col(RefreshRunItem.run_id) == run_id, col(RefreshRunItem.series_id) == series_id)
        .values(status=status, finished_at=func.now(), **values)
    )


async def note_costs(
    session: WriteSession, run_id: UUID, costs: Mapping[int, Mapping[str, float | str | None]]
) -> None:
    """Write the costs by series id: `calls`, `retries`, `seconds_waited`, and `note`."""
    for series_id, cost in costs.items():
        await session.execute(
            update(RefreshRunItem)
            .where(col(RefreshRunItem.run_id) == run_id, col(RefreshRunItem.series_id) == series_id)
            .values(**cost)
        )


async def append_error(session: WriteSession, run_id: UUID, series_id: int, message: str) -> None:
    """Append to the error of a series. A series that had succeeded becomes PARTIAL."""
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
    """Mark a series as PARTIAL whose hours failed but whose days were stored."""
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
    """End a run, unless it has ended. Its pending series become FAILED, or INTERRUPTED with it.

    The remaining calls of a failed run count as failed. An interrupted run keeps its counters,
    which show how far it got.
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
    """Mark the runs that killed processes left RUNNING. The caller must hold REFRESH_LOCK."""
    rows = await session.scalars(
        select(col(RefreshRun.id)).where(col(RefreshRun.status) == RefreshStatus.RUNNING)
    )
    dead = list(rows)
    for run_id in dead:
        error = "The process of the run was killed or lost its connection to the database."
        await finish_run(session, run_id, RefreshStatus.INTERRUPTED, error)
    return dead


async def is_alive(session: ReadSession, run_id: UUID) -> bool:
    """Return True if a process works on this run, which may have ended since it was read."""
    # A shared lock, so that concurrent probes do not mistake each other for the run.
    probe = text("SELECT pg_try_advisory_xact_lock_shared(:key)")
    return not await session.scalar(probe, {"key": lock_of(run_id)})


# Scheduled refreshes leave out what is not due, but still count as refreshes of everything.
_OF_EVERYTHING = col(RefreshRun.request).op("-")(literal_column("'only_due'")) == {}


async def last_full_run(session: ReadSession, before: datetime) -> RefreshRun | None:
    """Return the newest run of everything, whatever its trigger, that was not interrupted.

    Runs that started at `before` or later do not count.
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
    """Count the consecutive failures among the newest runs of everything; at most 20.

    Interrupted runs, and runs that started at `before` or later, are skipped.
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
    """Return the (coin, currency) pairs of a run."""
    query = (
        select(col(Series.coin_id), col(Series.currency_code))
        .join(RefreshRunItem, col(Series.id) == col(RefreshRunItem.series_id))
        .where(col(RefreshRunItem.run_id) == run_id)
    )
    return {(coin, currency) for coin, currency in await session.execute(query)}


# One statement, because schedulers expect a quick response even from a busy process. The lock's key
# is that of `lock_of`: the last 63 bits of the id.
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
    """Return the id of the run that this key is bound to, and the run in progress.

    The latter has only the columns of the request, the progress and the pace.
    """
    (row,) = await database.fetch(_UNDER_WAY, key, _BIGINT)
    found = dict(row)
    bound, alive = found.pop("bound"), found.pop("alive")
    if not alive:
        return bound, None
    found["request"] = orjson.loads(found["request"])
    return bound, RefreshRun(**found, status=RefreshStatus.RUNNING)


async def bind_key(session: WriteSession, key: str, run_id: UUID) -> UUID:
    """Bind a key to a run unless it is bound already. Returns the id of the run it is bound to."""
    mine = insert(RefreshRunKey).values(key=key, run_id=run_id)
    # an update that changes nothing, so that RETURNING always has a row
    kept = mine.on_conflict_do_update(
        index_elements=[col(RefreshRunKey.key)], set_={"key": mine.excluded.key}
    )
    return (await session.scalars(kept.returning(col(RefreshRunKey.run_id)))).one()


async def runs_by_id(session: ReadSession, ids: Sequence[UUID]) -> dict[UUID, RefreshRun]:
    """Read runs by id. Unknown ids are left out."""
    rows = await session.scalars(select(RefreshRun).where(col(RefreshRun.id).in_(ids)))
    return {run.id: run for run in rows}


async def page_of_runs(session: ReadSession, *, after: UUID | None, limit: int) -> list[RefreshRun]:
    """List at most `limit` runs, newest first, starting after the run `after`."""
    query = select(RefreshRun).order_by(col(RefreshRun.id).desc()).limit(limit)
    if after is not None:
        query = query.where(col(RefreshRun.id) < after)
    return list(await session.scalars(query))


async def count_runs(session: ReadSession) -> int:
    """Count all runs."""
    return (await session.scalars(select(func.count()).select_from(RefreshRun))).one()


async def items_of_runs(
    session: ReadSession, run_ids: Sequence[UUID]
) -> dict[UUID, list[tuple[RefreshRunItem, Series]]]:
    """Read the items of these runs with their series, in the order of work."""
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
    """Estimate the seconds until a run ends, from its pace so far. None if it has ended.

    A call is counted when its result is stored, so up to `_CALLS_AHEAD` calls are not counted yet.
    The observed pace replaces the throttle's only if it is slower even with those calls.
    """
    if run.status != RefreshStatus.RUNNING:
        return None
    done = run.completed_calls + run.failed_calls
    elapsed = (now - run.started_at).total_seconds()
    pace = max(run.seconds_per_call, elapsed / (done + _CALLS_AHEAD))
    return max(0, run.planned_calls - done) * pace


MOST_RUNS = 10_000
MOST_DAYS = 400
_AT_ONCE = 500  # rows per call, so that the first call on an old database is short too

# Ids sort by time, and so does the primary key: a scan of 10,000 entries takes 1 ms.
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
    """Delete the oldest runs: all but the newest `runs`, and those older than `days` days.

    Deletes at most `_AT_ONCE` runs, with their items and keys. Returns how many it deleted.
    """
    result = await session.execute(_PRUNE, {"runs": runs, "days": days, "at_once": _AT_ONCE})
    return int(result.rowcount)  # type: ignore[attr-defined] # a DELETE's result has it
