"""The power goes: processes killed, connections cut. Nothing is lost, nothing is doubled."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from ingestion.run import refresher as module
from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database
from models.runs import REFRESH_LOCK
from models.tables import RefreshTrigger
from simulator import Fault
from tests.ingestion.running import EVERYTHING, Deployment, Ended
from tests.serving import connected

pytestmark = pytest.mark.endurance

NAMES = ["bitcoin/usd", "ethereum/usd", "bitcoin/eur", "ethereum/eur"]
_PROCESS = """
import asyncio, sys
from ingestion.coingecko.client import CoinGecko
from ingestion.run.refresher import Refresher, RefreshRequest
from ingestion.quota.throttle import Throttle
from models.postgres.database import Database
from models.tables import RefreshTrigger

async def main():
    database = Database(sys.argv[1])
    throttle = Throttle(600_000, database=database)
    async with CoinGecko(throttle=throttle, base_url=sys.argv[2]) as upstream:
        refresher = Refresher(
            database, upstream,
            coins=["bitcoin", "ethereum"], currencies=["usd", "eur"], history_days=95,
        )
        run_id, _ = await refresher.start(RefreshRequest(), RefreshTrigger.COMMAND)
        await refresher.wait(run_id)

asyncio.run(main())
"""


@asynccontextmanager
async def other_process(deployment: Deployment) -> AsyncIterator[asyncio.subprocess.Process]:
    """Refresh in a process of its own, which is gone after the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROCESS, deployment.database_url, deployment.simulator.base_url,
        cwd=Path(__file__).parents[3], stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(deployment: Deployment, query: str) -> None:
    async with asyncio.timeout(60):
        while not await deployment.sql.fetchval(query):  # noqa: ASYNC110 - what others do
            await asyncio.sleep(0.01)


async def only_run(deployment: Deployment) -> UUID:
    found: UUID = await deployment.sql.fetchval("SELECT id FROM refresh_run")
    return found


@pytest.mark.parametrize("waits_for_it", [True, False])
async def test_a_killed_process_loses_nothing(deployment: Deployment, waits_for_it: bool) -> None:
    refresher = await deployment.process(history_days=95)
    deployment.simulator.add_fault(
        Fault("slow", path="/market_chart", currency="eur", times=None, seconds=30)
    )
    async with other_process(deployment) as process:
        await until(deployment, _HALF)
        run_id = await only_run(deployment)
        # while it lives, it is joined
        assert await refresher.start(EVERYTHING, RefreshTrigger.COMMAND) == (run_id, False)
        waiting = asyncio.create_task(refresher.wait(run_id))
        await refresher.mark_interrupted_runs()
        await asyncio.sleep(0.3)
        assert not waiting.done()
        if not waits_for_it:
            waiting.cancel()
        process.send_signal(signal.SIGKILL)
        await process.wait()
    deployment.simulator.clear_faults()
    if waits_for_it:
        await asyncio.wait_for(waiting, 60)  # and does not wait for ever
    else:
        # the process is dead before PostgreSQL knows; until then its run is joined
        await deployment.lock_becomes_free()
        assert (await deployment.ended(run_id)).status == "RUNNING"
    next_run = await deployment.refresh(refresher)
    dead = await deployment.ended(run_id)
    assert dead.status == "INTERRUPTED"
    assert "killed" in dead.run["error"]
    assert [item["status"] for item in dead.items.values()] == ["SUCCEEDED"] * 2 + [
        "INTERRUPTED"
    ] * 2
    assert next_run.status == "SUCCEEDED"
    reasons = [item["reason"] for item in next_run.items.values()]
    assert reasons == ["BACKFILL"] * 2 + ["FIRST_LOAD"] * 2, "all lack their days"
    assert [item["rows_inserted"] for item in next_run.items.values()][:2] == [0, 0]
    await deployment.assert_stored(*NAMES)


async def test_the_next_start_marks_killed_runs(deployment: Deployment) -> None:
    refresher = await deployment.process()
    ended = await deployment.refresh(refresher)
    await deployment.sql.execute("UPDATE refresh_run SET status = 'RUNNING', finished_at = NULL")
    await refresher.mark_interrupted_runs()
    assert (await deployment.ended(ended.run["id"])).status == "INTERRUPTED"


async def test_runs_of_a_process_killed_just_now_are_marked_too(
    deployment: Deployment, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL has not noticed yet, and keeps the lock."""
    monkeypatch.setattr(module, "_MARK_PAUSES", (0.01,))
    refresher = await deployment.process()
    ended = await deployment.refresh(refresher)
    await deployment.sql.execute("UPDATE refresh_run SET status = 'RUNNING', finished_at = NULL")
    async with AdvisoryLock(database, REFRESH_LOCK) as lock:
        assert await lock.acquire()
        await refresher.mark_interrupted_runs_at_start()
        assert (await deployment.ended(ended.run["id"])).status == "RUNNING"
    await until(deployment, "SELECT status = 'INTERRUPTED' FROM refresh_run")
    await refresher.stop()


_CUT = """
    SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE $1
"""


_HALF = "SELECT count(*) = 2 FROM refresh_run_item WHERE status = 'SUCCEEDED'"
_WAITING = """
    SELECT count(*) > 0 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND application_name = 'coingraph'
"""


async def cut(deployment: Deployment, whose: str) -> None:
    """Cut connections, and wait until PostgreSQL has ended them: it only signals at first."""
    cut_off = [pid for pid, _ in await deployment.sql.fetch(_CUT, whose)]
    alive = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)"
    async with asyncio.timeout(60):
        while await deployment.sql.fetchval(alive, cut_off):  # noqa: ASYNC110 - what others do
            await asyncio.sleep(0.01)


async def test_a_run_whose_writer_is_cut_fails(deployment: Deployment, database_url: str) -> None:
    """During its first write, which waits for a lock of the test."""
    refresher = await deployment.process(history_days=95)
    async with connected(database_url) as other, other.transaction():
        await other.execute("LOCK TABLE price_hourly IN EXCLUSIVE MODE")
        run_id, started = await refresher.start(EVERYTHING, RefreshTrigger.COMMAND)
        assert started
        await until(deployment, _WAITING)
        await cut(deployment, "coingraph")
    await asyncio.wait_for(refresher.wait(run_id), 60)
    ended = await deployment.ended(run_id)
    assert ended.status == "FAILED"
    assert "atabase" in ended.run["error"]
    await assert_whole(deployment, ended)
    assert (await deployment.refresh(refresher)).status == "SUCCEEDED"
    await deployment.assert_stored(*NAMES)


@pytest.mark.parametrize("whose", ["coingraph%", "coingraph", "coingraph lock"])
async def test_a_run_whose_connections_are_cut_stays_whole(
    deployment: Deployment, whose: str
) -> None:
    """All connections, those that write, the one that holds the lock, while upstream is asked.

    Connections that only write are replaced. A process that has lost the lock must stop.
    """
    refresher = await deployment.process(history_days=95)
    deployment.hold_up("/market_chart", currency="eur")
    run_id, started = await refresher.start(EVERYTHING, RefreshTrigger.COMMAND)
    assert started
    await until(deployment, _HALF)
    await cut(deployment, whose)
    deployment.simulator.clear_faults()
    await asyncio.wait_for(refresher.wait(run_id), 60)
    ended = await deployment.ended(run_id)
    assert ended.status == ("SUCCEEDED" if whose == "coingraph" else "FAILED")
    assert whose == "coingraph" or "atabase" in ended.run["error"]
    await assert_whole(deployment, ended)
    assert [ended.items[name]["status"] for name in NAMES[:2]] == ["SUCCEEDED"] * 2
    assert (await deployment.refresh(refresher)).status == "SUCCEEDED"
    await deployment.assert_stored(*NAMES)


async def assert_whole(deployment: Deployment, ended: Ended) -> None:
    """What an item says is what is stored, and calls are counted."""
    assert ended.calls[0] == ended.calls[1] + ended.calls[2]
    assert list(ended.items) == NAMES
    for name, item in ended.items.items():
        assert bool(await deployment.hours(name)) == (item["status"] == "SUCCEEDED"), name


async def test_a_run_that_lost_its_lock_stops_writing(deployment: Deployment) -> None:
    """There are never two writers: the first one notices before it stores anything more."""
    first, second = await deployment.process(), await deployment.process()
    deployment.simulator.add_fault(Fault("slow", path="/market_chart", times=4, seconds=60))
    run_id, _ = await first.start(EVERYTHING, RefreshTrigger.COMMAND)
    async with asyncio.timeout(60):
        while len(deployment.charts()) < 4:  # noqa: ASYNC110 - upstream's log
            await asyncio.sleep(0.01)
    await cut(deployment, "coingraph lock")
    next_id, started = await second.start(EVERYTHING, RefreshTrigger.COMMAND)
    assert started
    deployment.simulator.clear_faults()
    await asyncio.gather(first.wait(run_id), second.wait(next_id))
    lost, ended = await deployment.ended(run_id), await deployment.ended(next_id)
    assert (lost.status, ended.status) == ("INTERRUPTED", "SUCCEEDED")
    assert {item["status"] for item in lost.items.values()} == {"INTERRUPTED"}
    assert lost.rows == (0, 0)
    await deployment.assert_stored(*NAMES)
