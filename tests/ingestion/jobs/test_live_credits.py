"""Live polls and refreshes share a month's credits."""

import asyncio

import pytest

from ingestion.coingecko.client import CoinGecko
from ingestion.jobs.live_prices import BudgetSpentError
from ingestion.quota.credits import Budget, Credits
from ingestion.quota.throttle import Throttle
from models.postgres.database import Database
from models.tables import RefreshTrigger
from simulator import Fault
from tests.ingestion.polling import COINS, CURRENCIES, NAMES, leads, poller_of
from tests.ingestion.running import EVERYTHING, Deployment


async def spent(deployment: Deployment) -> int:
    return int(
        await deployment.sql.fetchval("SELECT coalesce(sum(spent), 0) FROM upstream_credits")
    )


async def test_a_poll_leaves_the_run_under_way_what_it_needs(
    deployment: Deployment, database: Database
) -> None:
    refresher = await deployment.process(COINS, CURRENCIES)
    planned = (await refresher.prepare(EVERYTHING)).calls
    deployment.simulator.add_fault(Fault("slow", path="/market_chart", times=None, seconds=60))
    throttle = Throttle(600_000, database=database)
    async with CoinGecko(throttle=throttle, base_url=deployment.simulator.base_url) as upstream:
        poller = poller_of(database, upstream, monthly=planned + 1)
        await refresher.start(EVERYTHING, RefreshTrigger.COMMAND)
        async with asyncio.timeout(20):
            while len(deployment.charts()) < len(NAMES):  # noqa: ASYNC110 - upstream's log
                await asyncio.sleep(0.01)
        await poller.poll(leads)
        with pytest.raises(BudgetSpentError, match="reserved for the refresh in progress"):
            await poller.poll(leads)
        assert await spent(deployment) < planned
        await refresher.interrupt()
        await poller.poll(leads)


@pytest.mark.slow
async def test_a_run_that_died_keeps_nothing_from_the_next(
    deployment: Deployment, database: Database
) -> None:
    refresher = await deployment.process(COINS, CURRENCIES)
    ended = await deployment.refresh(refresher)
    await deployment.sql.execute(
        "UPDATE refresh_run SET status = 'RUNNING', completed_calls = 1, failed_calls = 2"
    )
    account, used = Credits(database, 1_000), await spent(deployment)
    alone, outside = await account.budget(), await account.budget_outside_runs()
    assert alone == Budget(1_000, used, alone.resets_at)
    assert outside == Budget(1_000, used, alone.resets_at, ended.run["planned_calls"] - 3)
    assert outside.left == 1_000 - used - ended.run["planned_calls"] + 3
