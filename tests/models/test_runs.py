"""Runs, their keys, and the locks by which they are told alive from dead."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from models import runs
from models.database import Database, DatabaseUnavailableError
from models.locks import AdvisoryLock
from models.run_history import prune_runs
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


async def test_a_key_is_bound_once_however_many_try(database: Database) -> None:
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


async def test_those_who_look_do_not_take_each_other_for_the_run(database: Database) -> None:
    run_id = await insert(database, make_run())
    async with database.write() as session:  # looks on until its transaction ends
        assert not await runs.is_alive(session, run_id)
        assert not await alive(database, run_id)


async def test_a_lock_has_one_holder_and_is_free_after_it(database: Database) -> None:
    one, other = (AdvisoryLock(database, 42) for _ in range(2))
    assert await one.acquire()
    assert not await other.acquire()
    await one.verify()
    await one.release()
    assert await other.acquire()
    await other.release()
    await other.release()
    with pytest.raises(DatabaseUnavailableError):
        await other.verify()


async def test_a_lock_that_was_lost_stays_lost(database: Database, sql: asyncpg.Connection) -> None:
    lock, other = (AdvisoryLock(database, 42) for _ in range(2))
    async with lock, other:
        assert await lock.acquire()
        held = (
            " FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await sql.execute(f"SELECT pg_terminate_backend(pid){held}")
        while await sql.fetchval(f"SELECT count(*){held}"):  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
        for _ in range(3):
            with pytest.raises(DatabaseUnavailableError):
                await lock.verify()
        assert await other.acquire()
        with pytest.raises(DatabaseUnavailableError):
            await lock.add(43)


async def test_a_cancelled_release_releases(database: Database) -> None:
    lock, other = (AdvisoryLock(database, 42) for _ in range(2))
    assert await lock.acquire()
    releasing = asyncio.create_task(lock.release())
    await asyncio.sleep(0)
    releasing.cancel()
    await asyncio.wait([releasing])
    async with other:
        async with asyncio.timeout(60):
            while not await other.acquire():  # noqa: ASYNC110 - what PostgreSQL does
                await asyncio.sleep(0.02)


async def test_nobody_there_is_one_sentence() -> None:
    nowhere = Database("postgresql://someone:secret@127.0.0.1:1/x")
    for use in (AdvisoryLock(nowhere, 1).acquire(), nowhere.check()):
        with pytest.raises(DatabaseUnavailableError) as caught:
            await use
        assert "secret" not in str(caught.value)
    await nowhere.close()


async def age_of(sql: asyncpg.Connection, days: int) -> list[str]:
    """Make runs, one a day, the newest yesterday's; their ids, the newest first."""
    rows = await sql.fetch(
        "INSERT INTO refresh_run (id, status, trigger, started_at)"
        " SELECT format('%s-0000-7000-8000-000000000000', lpad(to_hex(100000 - n), 8, '0'))::uuid,"
        "   'SUCCEEDED', 'COMMAND', now() - make_interval(days => n)"
        " FROM generate_series(1, $1::integer) AS n RETURNING id::text",
        days,
    )
    return [row["id"] for row in rows]


async def kept(sql: asyncpg.Connection) -> list[str]:
    rows = await sql.fetch("SELECT id::text FROM refresh_run ORDER BY id DESC")
    return [row["id"] for row in rows]


@pytest.mark.parametrize(
    ("most", "days", "left"), [(5, 400, 5), (100, 8, 7), (3, 5, 3), (20, 400, 20), (21, 400, 20)]
)
async def test_old_runs_go(
    database: Database, sql: asyncpg.Connection, most: int, days: int, left: int
) -> None:
    ids = await age_of(sql, 20)
    async with database.write() as session:
        assert await prune_runs(session, runs=most, days=days) == 20 - left
        assert await prune_runs(session, runs=most, days=days) == 0
    assert await kept(sql) == ids[:left]


async def test_what_hangs_on_a_run_goes_with_it_and_a_running_one_stays(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    ids = await age_of(sql, 4)
    for run_id in ids:
        await sql.execute(
            "INSERT INTO refresh_run_item (run_id, series_id, status, reason)"
            " VALUES ($1::text::uuid, $2, 'SUCCEEDED', 'ROUTINE')", run_id, series
        )  # fmt: skip
        await sql.execute("INSERT INTO refresh_run_key VALUES ($1, $1::text::uuid)", run_id)
    await sql.execute("UPDATE refresh_run SET status = 'RUNNING' WHERE id = $1::text::uuid", ids[3])
    async with database.write() as session:
        assert await prune_runs(session, runs=2) == 1
    left = [ids[0], ids[1], ids[3]]
    assert await kept(sql) == left
    for query in (
        "SELECT run_id::text FROM refresh_run_item ORDER BY run_id DESC",
        "SELECT key FROM refresh_run_key ORDER BY key DESC",
    ):
        assert [row[0] for row in await sql.fetch(query)] == left


async def test_a_long_past_goes_bit_by_bit(database: Database, sql: asyncpg.Connection) -> None:
    await age_of(sql, 1200)
    gone = []
    for _ in range(4):
        async with database.write() as session:
            gone.append(await prune_runs(session))
    assert gone == [500, 301, 0, 0]  # of today's hour 400 days ago none is left
    assert len(await kept(sql)) == 399


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
