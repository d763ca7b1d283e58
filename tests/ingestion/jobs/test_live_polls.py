"""Live polls by themselves: when they are due, what they log, and that no error stops them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingestion.jobs.live_prices import BudgetSpentError, next_due
from models.postgres.database import Database, DatabaseUnavailableError
from simulator import Fault
from tests.ingestion.polling import COINS, CURRENCIES, NAMES, latest, leads, poller_of, upstream_of
from tests.ingestion.running import Deployment
from tests.ingestion.upstream import Clock


async def test_a_former_leader_writes_nothing(deployment: Deployment, database: Database) -> None:
    await deployment.process(COINS, CURRENCIES)

    async def lost() -> None:
        raise DatabaseUnavailableError("The database dropped the connection of a lock.")

    async with upstream_of(deployment.simulator) as upstream:
        with pytest.raises(DatabaseUnavailableError):
            await poller_of(database, upstream).poll(lost)
    assert await latest(deployment) == {}


async def test_what_upstream_leaves_out_is_logged_once(
    deployment: Deployment, database: Database
) -> None:
    coins = (*COINS, "no-such-coin")
    await deployment.process(coins, CURRENCIES)
    async with upstream_of(deployment.simulator) as upstream:
        poller = poller_of(database, upstream, coins=coins)
        with capture_logs() as logs:
            await poller.poll(leads)
            await poller.poll(leads)
            deployment.simulator.add_fault(Fault("nulls", path="simple/price"))
            await poller.poll(leads)
            await poller.poll(leads)
    logged = [(log["count"], len(log["missing"])) for log in logs if "left out" in log["event"]]
    assert logged == [(2, 2), (6, 6), (2, 2)]
    assert set(await latest(deployment)) == set(NAMES)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - what it awaits is in the database
            await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["error500", "html", "truncated", "reset", "rate_limited"])
async def test_failures_are_logged_once_and_do_not_stop_polling(
    deployment: Deployment, database: Database, kind: Any
) -> None:
    await deployment.process(COINS, CURRENCIES)
    deployment.simulator.add_fault(Fault(kind, times=2, retry_after="none"))

    async with upstream_of(deployment.simulator) as upstream:
        with capture_logs() as logs:

            async def again() -> bool:
                return any(log["event"] == "succeeded again" for log in logs)

            polling = asyncio.create_task(poller_of(database, upstream, every=0.01).run(leads))
            try:
                await until(again)
                assert not polling.done()
            finally:
                polling.cancel()
                await asyncio.gather(polling, return_exceptions=True)
    logged = [log for log in logs if log.get("work") == "live poll"]
    assert [log["event"] for log in logged] == ["failed, trying again", "succeeded again"]
    assert set(await latest(deployment)) == set(NAMES)


@pytest.mark.parametrize(
    ("now", "expected"),
    [(0.0, 10.0), (3.0, 10.0), (10.0, 10.0), (10.5, 20.0), (99.0, 100.0), (1e9 + 1, 1e9 + 10)],
)
def test_late_polls_are_skipped(now: float, expected: float) -> None:
    assert next_due(0.0, 10.0, now) == expected


@pytest.mark.slow
async def test_a_spent_budget_is_not_overdrawn(
    deployment: Deployment, clock: Clock, database: Database
) -> None:
    refresher = await deployment.process(COINS, CURRENCIES)
    await deployment.refresh(refresher)
    asked = len(deployment.simulator.requests)
    async with upstream_of(deployment.simulator) as upstream:
        with pytest.raises(BudgetSpentError, match="credits of this month are spent"):
            await poller_of(database, upstream, monthly=0).poll(leads)
        assert len(deployment.simulator.requests) == asked
        clock.now += 60
        assert await poller_of(database, upstream, monthly=1_000_000).poll(leads) > 0
