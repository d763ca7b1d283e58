"""Runs and their keys, and how live ones are distinguished from dead ones."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from models import runs
from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database
from models.tables import ItemStatus, RefreshRun, RefreshRunItem, RefreshStatus

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_run(**more: Any) -> RefreshRun:
    values: dict[str, Any] = {
        "id": runs.new_run_id(), "started_at": NOW, "request": {"days": 3},
        "status": "RUNNING", "trigger": "COMMAND",
    }  # fmt: skip
    return RefreshRun(**{**values, **more})


async def insert(database: Database, run: RefreshRun, *items: RefreshRunItem) -> UUID:
    async with database.write() as session:
        await runs.insert_run(session, run, items)
    return run.id


async def by_id(database: Database, run_id: UUID) -> RefreshRun:
    async with database.read() as session:
        return (await runs.runs_by_id(session, [run_id]))[run_id]


async def alive(database: Database, run_id: UUID) -> bool:
    async with database.read() as session:
        return await runs.is_alive(session, run_id)


def test_ids_are_uuids_of_version_7_that_sort_by_time() -> None:
    ids = []
    for _ in range(20):
        ids.append(runs.new_run_id())
        time.sleep(0.002)
    assert sorted(ids) == ids
    assert {(each.version, each.variant) for each in ids} == {(7, "specified in RFC 4122")}
    assert ids[-1].int >> 80 == pytest.approx(time.time() * 1000, abs=5000)
    assert len({runs.new_run_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("counts", "pace", "elapsed", "left"),
    [
        ((100, 0, 0), 2.0, 0, 200.0),
        ((100, 10, 0), 2.0, 10, 180.0),  # faster than the throttle was luck
        ((100, 1, 0), 2.0, 16, 198.0),  # what is fetched and not stored yet is no slowness
        ((100, 5, 7), 2.0, 100, 440.0),  # slower even with that is believed
        ((100, 90, 10), 2.0, 50, 0.0),
        ((100, 101, 0), 2.0, 50, 0.0),
    ],
)
def test_seconds_left(
    counts: tuple[int, int, int], pace: float, elapsed: float, left: float
) -> None:
    names = ("planned_calls", "completed_calls", "failed_calls")
    run = make_run(seconds_per_call=pace, **dict(zip(names, counts, strict=True)))
    assert runs.seconds_left(run, NOW + timedelta(seconds=elapsed)) == left
    run.status = RefreshStatus.SUCCEEDED
    assert runs.seconds_left(run, NOW) is None


async def test_an_ended_run_stays_as_it_ended(database: Database, sql: asyncpg.Connection) -> None:
    run_id = await insert(database, make_run(planned_calls=9, completed_calls=2, failed_calls=1))
    async with database.write() as session:
        await runs.finish_run(session, run_id, RefreshStatus.FAILED, "no key")
        await runs.finish_run(session, run_id, RefreshStatus.SUCCEEDED, None)
    row = await sql.fetchrow("SELECT * FROM refresh_run")
    assert row is not None
    assert (row["status"], row["error"]) == ("FAILED", "no key")
    assert (row["planned_calls"], row["completed_calls"], row["failed_calls"]) == (9, 2, 7)
    assert row["finished_at"] is not None


async def test_what_was_not_reached_shares_the_runs_fate(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    run = make_run()
    items = [
        RefreshRunItem(run_id=run.id, series_id=each, position=n, status=status, reason="ROUTINE")
        for n, (each, status) in enumerate(
            [(series, ItemStatus.SUCCEEDED), (other_series, ItemStatus.PENDING)]
        )
    ]
    await insert(database, run, *items)
    async with database.write() as session:
        assert await runs.interrupt_dead_runs(session) == [run.id]
        assert await runs.interrupt_dead_runs(session) == []
    rows = await sql.fetch("SELECT status, error FROM refresh_run_item ORDER BY position")
    assert [row["status"] for row in rows] == ["SUCCEEDED", "INTERRUPTED"]
    assert rows[0]["error"] is None
    assert "killed" in rows[1]["error"]


async def test_a_key_is_bound_once_by_concurrent_callers(database: Database) -> None:
    ids = [await insert(database, make_run()) for _ in range(8)]

    async def bind(run_id: UUID) -> UUID:
        async with database.write() as session:
            bound = await runs.bind_key(session, "nightly", run_id)
            await asyncio.sleep(0.01)
            return bound

    bound = set(await asyncio.gather(*map(bind, ids)))
    assert len(bound) == 1
    assert (await runs.run_under_way(database, "nightly"))[0] in bound
    for other in ("other", None):
        assert await runs.run_under_way(database, other) == (None, None)


async def test_a_run_is_alive_while_its_lock_is_held(database: Database) -> None:
    run_id = await insert(
        database,
        make_run(planned_calls=9, completed_calls=2, seconds_per_call=2.5),
    )
    lock = AdvisoryLock(database, runs.REFRESH_LOCK)
    assert await runs.run_under_way(database, None) == (None, None)  # it was left behind
    async with lock:
        assert await lock.acquire()
        await lock.add(runs.lock_of(run_id))
        assert all(await asyncio.gather(*(alive(database, run_id) for _ in range(10))))
        _, found = await runs.run_under_way(database, None)
        assert found is not None
        known = await by_id(database, run_id)
        for name in ("id", "status", "request", "started_at", "planned_calls", "completed_calls"):
            assert getattr(found, name) == getattr(known, name), name
        assert runs.seconds_left(found, NOW) == runs.seconds_left(known, NOW) == 7 * 2.5
    assert not await alive(database, run_id)


async def test_concurrent_probes_do_not_mistake_each_other_for_the_run(database: Database) -> None:
    run_id = await insert(database, make_run())
    async with database.write() as session:  # looks on until its transaction ends
        assert not await runs.is_alive(session, run_id)
        assert not await alive(database, run_id)


async def test_a_run_of_a_clock_that_was_ahead_is_not_the_last_one(database: Database) -> None:
    """However much newer its id is."""
    whole: dict[str, Any] = {"request": {}, "status": "SUCCEEDED"}
    mine = await insert(database, make_run(**whole))
    await insert(database, make_run(started_at=NOW + timedelta(days=400), **whole))
    async with database.read() as session:
        last = await runs.last_full_run(session, NOW + timedelta(hours=1))
        assert last is not None
        assert last.id == mine
        assert await runs.last_full_run(session, NOW) is None


@pytest.mark.parametrize(
    ("request_", "whole"),
    [
        ({}, True),
        ({"only_due": True}, True),  # as schedules ask
        ({"coins": ["bitcoin"]}, False),
        ({"days": 3}, False),
        ({"only_due": True, "currencies": ["usd"]}, False),
    ],
)
async def test_which_runs_are_of_everything(
    database: Database, request_: dict[str, Any], *, whole: bool
) -> None:
    mine = await insert(database, make_run(request=request_, status="FAILED"))
    async with database.read() as session:
        last = await runs.last_full_run(session, NOW + timedelta(hours=1))
        failures = await runs.failures_in_a_row(session, NOW + timedelta(hours=1))
    assert (last is not None and last.id == mine) is whole
    assert failures == int(whole), "that many times longer until the next one"
