"""Scheduled refreshes next to other ones, in processes of one deployment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingestion.jobs.schedule import Schedule, seconds_until_due
from ingestion.run.refresher import Refresher, RefreshRequest
from models import runs
from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database
from models.tables import RefreshRun, RefreshTrigger
from simulator import Fault
from tests.ingestion.run.test_killed_processes import cut
from tests.ingestion.running import EVERYTHING, Deployment

DAY = timedelta(days=1)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@contextlib.asynccontextmanager
async def scheduled(
    database: Database, refresher: Refresher, period: timedelta = DAY
) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(Schedule(database, refresher).refresh_every(period))
    try:
        yield task
        assert not task.done(), "nothing ends it"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - what it awaits is in the database
            await asyncio.sleep(0.01)


async def found(deployment: Deployment) -> list[str]:
    rows = await deployment.sql.fetch("SELECT trigger, status FROM refresh_run ORDER BY id")
    return [f"{row['trigger']} {row['status']}" for row in rows]


def becomes(deployment: Deployment, *expected: str) -> Callable[[], Awaitable[object]]:
    async def ended() -> bool:
        return await found(deployment) == list(expected)

    return ended


@pytest.mark.slow
async def test_a_run_of_some_coins_is_waited_for_and_does_not_count(
    deployment: Deployment, database: Database
) -> None:
    refresher, other = await deployment.process(), await deployment.process()
    deployment.hold_up("market_chart")
    some = RefreshRequest(coins=("bitcoin",))
    await other.start(some, RefreshTrigger.MUTATION)
    async with scheduled(database, refresher):
        await asyncio.sleep(0.1)  # a chance to begin another one
        assert await found(deployment) == ["MUTATION RUNNING"]
        deployment.simulator.clear_faults()
        await until(becomes(deployment, "MUTATION SUCCEEDED", "SCHEDULE SUCCEEDED"))


@pytest.mark.slow
async def test_a_run_of_everything_under_way_counts_once(
    deployment: Deployment, database: Database
) -> None:
    refresher, other = await deployment.process(), await deployment.process()
    deployment.hold_up("market_chart")
    run_id, _ = await other.start(EVERYTHING, RefreshTrigger.MUTATION)
    with capture_logs() as logs:
        async with scheduled(database, refresher):
            await asyncio.sleep(0.1)  # a chance to begin another one
            deployment.simulator.clear_faults()
            await other.wait(run_id)
            await until(lambda: _logged(logs, "the next refresh is due later"))
    assert await found(deployment) == ["MUTATION SUCCEEDED"]


async def _logged(logs: list[Any], event: str) -> bool:
    return any(log["event"] == event for log in logs)


@pytest.mark.slow
async def test_runs_that_take_longer_than_the_period_do_not_pile_up(
    deployment: Deployment, database: Database
) -> None:
    refresher = await deployment.process(("bitcoin",), ("usd",))
    most = 0

    async def three() -> bool:
        nonlocal most
        statuses = await found(deployment)
        most = max(most, sum(status.endswith("RUNNING") for status in statuses))
        return statuses[:3] == ["SCHEDULE SUCCEEDED"] * 3

    async with scheduled(database, refresher, timedelta(microseconds=1)):
        await until(three)
    assert most <= 1


@pytest.mark.slow
async def test_a_run_that_began_in_a_year_to_come_does_not_stop_the_schedule(
    deployment: Deployment, database: Database
) -> None:
    """A clock was ahead when it began, and has been set right since."""
    refresher = await deployment.process()
    run_id, _ = await refresher.start(EVERYTHING, RefreshTrigger.MUTATION)
    await refresher.wait(run_id)
    await deployment.sql.execute(
        "UPDATE refresh_run SET started_at = started_at + interval '1 year'"
    )
    async with scheduled(database, refresher):
        await until(becomes(deployment, "MUTATION SUCCEEDED", "SCHEDULE SUCCEEDED"))


@pytest.mark.slow
async def test_a_start_that_fails_is_tried_again_soon(
    deployment: Deployment, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of runs is held by nobody's run, as by one that is just starting."""
    monkeypatch.setattr("ingestion.run.refresher._JOIN_SECONDS", 0.01)
    refresher = await deployment.process()
    with capture_logs() as logs:
        async with AdvisoryLock(database, runs.REFRESH_LOCK) as lock:
            assert await lock.acquire()
            async with scheduled(database, refresher):
                await until(lambda: _logged(logs, "failed, trying again"))
                assert await found(deployment) == []
                await lock.release()
                await until(becomes(deployment, "SCHEDULE SUCCEEDED"))
    logged = [log["event"] for log in logs if log.get("work") == "scheduled refresh"]
    assert logged[0] == "failed, trying again"
    assert logged.count("failed, trying again") == 1


@pytest.mark.slow
async def test_a_first_load_that_cannot_start_is_tried_again(
    deployment: Deployment, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.run.refresher._JOIN_SECONDS", 0.01)
    refresher = await deployment.process()
    with capture_logs() as logs:
        async with AdvisoryLock(database, runs.REFRESH_LOCK) as lock:
            assert await lock.acquire()
            begun = asyncio.Event()
            loading = asyncio.create_task(Schedule(database, refresher).load_new(begun))
            await until(lambda: _logged(logs, "failed, trying again"))
            assert not begun.is_set()
            await lock.release()
            await loading
    assert begun.is_set()
    assert await found(deployment) == ["STARTUP SUCCEEDED"]
    nothing = asyncio.Event()
    await Schedule(database, refresher).load_new(nothing)
    assert nothing.is_set()
    assert await found(deployment) == ["STARTUP SUCCEEDED"], "there is nothing to load any more"


@pytest.mark.slow
async def test_a_first_load_that_lost_the_database_is_begun_again(
    deployment: Deployment, database: Database
) -> None:
    """Its lock is gone, which the leader, whose lock is another one, does not notice."""
    refresher = await deployment.process()
    deployment.hold_up("market_chart")
    begun = asyncio.Event()
    loading = asyncio.create_task(Schedule(database, refresher).load_new(begun))
    await until(becomes(deployment, "STARTUP RUNNING"))
    await cut(deployment, "coingraph lock")
    deployment.simulator.clear_faults()
    await loading
    assert begun.is_set()
    assert await found(deployment) == ["STARTUP FAILED", "STARTUP SUCCEEDED"]


async def test_a_first_load_that_upstream_refused_is_not(
    deployment: Deployment, database: Database
) -> None:
    """Whose calls are counted; the next refresh will ask again."""
    refresher = await deployment.process()
    deployment.simulator.add_fault(Fault("error500", status=401, times=None))
    await Schedule(database, refresher).load_new(asyncio.Event())
    assert await found(deployment) == ["STARTUP FAILED"]


@pytest.mark.slow
async def test_a_schedule_backs_off_while_its_runs_fail(
    deployment: Deployment, database: Database
) -> None:
    """The period is shorter than the wait after a run that failed, whatever started it."""
    refresher = await deployment.process()
    deployment.simulator.add_fault(Fault("forbidden", times=None))
    with capture_logs() as logs:
        async with scheduled(database, refresher, timedelta(microseconds=1)):
            await until(lambda: _logged(logs, "the next refresh is due later"))
    assert await found(deployment) == ["SCHEDULE FAILED"]
    [seconds] = [log["seconds"] for log in logs if log["event"] == "the next refresh is due later"]
    assert 60 < seconds <= 120
    deployment.simulator.clear_faults()
    # two minutes later
    await deployment.sql.execute(
        "UPDATE refresh_run SET started_at = started_at - interval '2 min'"
    )
    async with scheduled(database, refresher, timedelta(microseconds=1)):
        await until(lambda: _begins_with(deployment, "SCHEDULE FAILED", "SCHEDULE SUCCEEDED"))


async def _begins_with(deployment: Deployment, *expected: str) -> bool:
    return (await found(deployment))[: len(expected)] == list(expected)


@pytest.mark.parametrize(
    ("began", "seconds"),
    [
        (NOW, 86_400),
        (NOW - DAY / 4, 64_800),
        (NOW - DAY, 0),
        (NOW - 10 * DAY, -9 * 86_400),
        (NOW + 10 * DAY, 86_400),
    ],
)
def test_when_the_next_is_due(began: datetime, seconds: float) -> None:
    run = RefreshRun(
        id=runs.new_run_id(), status="SUCCEEDED", trigger="COMMAND", request={}, started_at=began
    )
    assert seconds_until_due(run, DAY, NOW) == seconds
    assert seconds_until_due(run, timedelta.max, NOW) > 0
    assert seconds_until_due(None, DAY, NOW) == 0
