"""One refresh at a time, in however many processes: joining, keys, waiting, stopping."""

import asyncio
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from ingestion.run import refresher as refreshing
from ingestion.run.refresher import RefreshBusyError, Refresher
from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database
from models.runs import REFRESH_LOCK
from models.tables import RefreshTrigger
from simulator import Fault
from tests.ingestion.running import EVERYTHING, Deployment

NAMES = ["bitcoin/usd", "ethereum/usd", "bitcoin/eur", "ethereum/eur"]


async def start(refresher: Refresher, key: str | None = None) -> tuple[UUID, bool]:
    return await refresher.start(EVERYTHING, RefreshTrigger.MUTATION, key=key)


@pytest.mark.slow
async def test_a_second_request_joins_the_first_in_any_process(deployment: Deployment) -> None:
    deployment.hold_up()
    here, there = await deployment.process(), await deployment.process()
    run_id, started = await start(here)
    assert started
    assert await start(here) == await start(there) == (run_id, False)
    deployment.simulator.clear_faults()
    await asyncio.gather(here.wait(run_id), there.wait(run_id))
    ended = await deployment.ended(run_id)
    assert (ended.status, ended.run["trigger"]) == ("SUCCEEDED", "MUTATION")
    assert await deployment.sql.fetchval("SELECT count(*) FROM refresh_run") == 1
    next_id, started = await start(there)
    assert started
    assert next_id > run_id
    await there.wait(next_id)


@pytest.mark.slow
async def test_concurrent_starts_get_one_run(deployment: Deployment) -> None:
    deployment.hold_up()
    processes = [await deployment.process() for _ in range(4)]
    answers = await asyncio.gather(*(start(each) for each in processes for _ in range(5)))
    assert len({run_id for run_id, _ in answers}) == 1
    assert [started for _, started in answers].count(True) == 1
    deployment.simulator.clear_faults()
    await processes[0].wait(answers[0][0])
    assert len(deployment.calls("/simple/price")) == 1


async def test_one_key_is_one_run_in_all_processes(deployment: Deployment) -> None:
    here, there = await deployment.process(), await deployment.process()

    async def ask(number: int) -> tuple[UUID, bool]:
        await asyncio.sleep(number * 0.01)  # from before the run to long after it
        return await start((here, there)[number % 2], key="nightly")

    answers = await asyncio.gather(*map(ask, range(50)))
    assert len({run_id for run_id, _ in answers}) == 1
    assert [started for _, started in answers].count(True) == 1
    assert await deployment.sql.fetchval("SELECT count(*) FROM refresh_run") == 1


@pytest.mark.slow
async def test_a_key_stays_with_the_run_it_joined(deployment: Deployment) -> None:
    deployment.hold_up()
    here, there = await deployment.process(), await deployment.process()
    run_id, _ = await start(here)
    assert await start(there, key="a") == await start(here, key="b") == (run_id, False)
    deployment.simulator.clear_faults()
    await here.wait(run_id)
    for process in (here, there):
        assert await start(process, key="a") == await start(process, key="b") == (run_id, False)
    other, started = await start(there, key="c")
    assert started
    assert other != run_id
    await there.wait(other)


@pytest.mark.slow
async def test_a_key_bound_while_its_run_is_prepared_wins(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody joined an earlier run with the key, and was slow to say so."""
    refresher = await deployment.process()
    first = (await deployment.refresh(refresher)).run["id"]
    prepare = refresher.prepare

    async def overtaken(
        request: refreshing.RefreshRequest, *, seeded: bool = True
    ) -> refreshing.RunPlan:
        await deployment.sql.execute("INSERT INTO refresh_run_key VALUES ('k', $1)", first)
        return await prepare(request, seeded=seeded)

    monkeypatch.setattr(refresher, "prepare", overtaken)
    assert await start(refresher, key="k") == (first, False)
    assert await deployment.sql.fetchval("SELECT count(*) FROM refresh_run") == 1
    await deployment.lock_becomes_free()


@pytest.mark.slow
async def test_interrupted_at_once_or_later_it_is_written_and_the_lock_is_free(
    deployment: Deployment,
) -> None:
    deployment.simulator.add_fault(Fault("slow", times=None, seconds=0.1))
    refresher = await deployment.process()
    for pause in (None, 0.0, 0.02, 0.15, 0.25):
        run_id, started = await start(refresher)
        assert started
        if pause is not None:
            await asyncio.sleep(pause)
        await refresher.interrupt()
        ended = await deployment.ended(run_id)
        assert (ended.status, ended.run["error"]) == ("INTERRUPTED", "The server was stopped.")
        assert ended.run["finished_at"] is not None
        assert {item["status"] for item in ended.items.values()} <= {"SUCCEEDED", "INTERRUPTED"}
        await refresher.interrupt()
        await deployment.lock_becomes_free()
    deployment.simulator.clear_faults()
    assert (await deployment.refresh(refresher)).status == "SUCCEEDED"
    await deployment.assert_stored(*NAMES)


@pytest.mark.slow
async def test_what_is_being_written_is_written(deployment: Deployment) -> None:
    """Stopped at its very end, a run ends as it would have."""
    refresher = await deployment.process()
    await deployment.sql.execute("""
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE UPDATE ON refresh_run
            FOR EACH ROW WHEN (NEW.status <> 'RUNNING') EXECUTE FUNCTION dawdle()
    """)
    await deployment.sql.execute("SELECT pg_advisory_lock(1)")
    run_id, _ = await start(refresher)
    dawdling = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while not await deployment.sql.fetchval(dawdling):  # noqa: ASYNC110 - what PostgreSQL does
        await asyncio.sleep(0.01)
    interrupting = asyncio.create_task(refresher.interrupt())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not interrupting.done()
    await deployment.sql.execute("SELECT pg_advisory_unlock(1)")
    await interrupting
    assert (await deployment.ended(run_id)).status == "SUCCEEDED"
    await deployment.lock_becomes_free()


@pytest.mark.slow
async def test_wherever_it_is_stopped_the_next_run_completes_it(deployment: Deployment) -> None:
    refresher = await deployment.process(history_days=95)
    for step in range(8):
        await start(refresher)
        await asyncio.sleep(step * 0.03)
        await refresher.interrupt()
    ended = await deployment.refresh(refresher)
    assert ended.status == "SUCCEEDED"
    await deployment.assert_stored(*NAMES)
    statuses = await deployment.sql.fetch("SELECT DISTINCT status FROM refresh_run")
    assert {row["status"] for row in statuses} <= {"INTERRUPTED", "SUCCEEDED"}


@pytest.mark.slow
async def test_a_lock_without_a_run_is_busy(
    deployment: Deployment, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing, "_JOIN_SECONDS", 0.2)
    refresher = await deployment.process()
    # what a killed process left behind is not joined while the next one is about to start
    run_id = (await deployment.refresh(refresher)).run["id"]
    await deployment.sql.execute("UPDATE refresh_run SET status = 'RUNNING', finished_at = NULL")
    async with AdvisoryLock(database, REFRESH_LOCK) as lock:
        assert await lock.acquire()
        answers = await asyncio.gather(
            *(start(refresher, key=key) for key in (None, "a", "b")), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [RefreshBusyError] * 3
    assert await deployment.sql.fetchval("SELECT count(*) FROM refresh_run_key") == 0
    await deployment.lock_becomes_free()  # within so short a time
    next_id, started = await start(refresher, key="a")
    assert started
    await refresher.wait(next_id)
    assert (await deployment.ended(run_id)).status == "INTERRUPTED"


@pytest.mark.slow
async def test_a_run_whose_end_cannot_be_written_is_no_secret(deployment: Deployment) -> None:
    refresher = await deployment.process()
    await deployment.sql.execute("""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'a bug'; END $$;
        CREATE TRIGGER bug BEFORE UPDATE ON refresh_run
            FOR EACH ROW WHEN (NEW.status <> 'RUNNING') EXECUTE FUNCTION fail()
    """)
    with capture_logs() as logs:
        run_id, _ = await start(refresher)
        while not any(line["log_level"] == "error" for line in logs):  # noqa: ASYNC110 - a log
            await asyncio.sleep(0.02)
    assert [line["exc_info"] for line in logs if line["log_level"] == "error"] == [True]
    await deployment.lock_becomes_free()
    await deployment.sql.execute("DROP TRIGGER bug ON refresh_run")
    # a caller that waits for it detects that it is dead
    other = await deployment.process()
    await asyncio.wait_for(asyncio.gather(other.wait(run_id), refresher.wait(run_id)), 60)
    assert (await deployment.ended(run_id)).status == "INTERRUPTED"


async def test_waiting_for_what_never_was_is_short(deployment: Deployment) -> None:
    await asyncio.wait_for((await deployment.process()).wait(UUID(int=7)), 60)
