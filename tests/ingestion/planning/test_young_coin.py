"""A coin that was listed a week ago: after a week of the same answers, what came before it is none.

It is still asked for, by time, so that nothing is lost should upstream have withheld it.
"""

import time
from datetime import UTC, datetime, timedelta

import pytest

from ingestion.run.refresher import Refresher
from models.postgres.database import Database
from models.prices.granularity import Granularity
from resolvers.coverage import CoverageQuery, coverages
from simulator import SimulatorOptions
from tests.ingestion.running import Deployment
from tests.ingestion.upstream import Clock
from tests.withholding import Withholding, points, withholding

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NAME, KEY = "fresh-mint/usd", ("fresh-mint", "usd")
# Hours after the first refresh: what is asked for then has become due.
ASKS = [1, 7, 13, 19, 25, 49, 73, 97, 121, 145, 169]


async def expected(deployment: Deployment, refresher: Refresher, now: datetime) -> tuple[int, int]:
    """How many hours and days there should be."""
    found = []
    database = Database(deployment.database_url)
    for granularity in (Granularity.HOUR, Granularity.DAY):
        question = CoverageQuery(KEY, granularity, now - 500 * DAY, now)
        [measured] = await coverages(database, [question], now, refresher.tracked)
        assert not isinstance(measured, Exception)
        assert int(measured.lengths.sum()) == measured.expected - measured.present
        found.append(measured.expected)
    await database.close()
    return found[0], found[1]


@pytest.mark.slow
async def test_a_young_coin_looks_broken_for_a_week_and_no_longer(deployment: Deployment) -> None:
    clock = Clock(lambda: time.time() - 40 * 86_400)
    with withholding(SimulatorOptions(clock=clock)) as upstream:
        refresher = await deployment.process(
            KEY[:1],
            KEY[1:],
            history_days=95,
            base_url=upstream.base_url,
            now=lambda: datetime.fromtimestamp(clock.now, UTC),
        )
        await _grow_up(deployment, upstream, refresher, clock)


async def _grow_up(
    deployment: Deployment, upstream: Withholding, refresher: Refresher, clock: Clock
) -> None:
    begun = clock.now
    ended = await deployment.refresh(refresher, only_due=True)
    assert ended.status == "PARTIAL"
    listed = min(await deployment.hours(NAME))
    for hours in ASKS:
        now = datetime.fromtimestamp(clock.now, UTC)
        wanted = await expected(deployment, refresher, now)
        assert (wanted[0] // 24, wanted[1] in {364, 365}) == (95, True)
        clock.now = begun + hours * 3600
        upstream.forget()
        await deployment.refresh(refresher, only_due=True)
        assert len(upstream.asked) > 1, hours  # more than the last two days
    now = datetime.fromtimestamp(clock.now, UTC)
    hours, days = await expected(deployment, refresher, now)
    assert hours - (now - listed) // HOUR in {0, 1}  # the running one, where it has a price
    assert days - (now.date() - listed.date()).days in {0, 1}
    # a refresh that somebody asks for finds nothing missing, and says so
    upstream.forget()
    ended = await deployment.refresh(refresher)
    assert (ended.status, len(upstream.asked)) == ("SUCCEEDED", 1)
    # had upstream withheld it, it comes by itself
    clock.now += 3 * 86_400
    before = listed.timestamp() * 1000
    upstream.spoil = lambda asked, chart: (
        points({name: [[before - 5 * 86_400_000, 1.0], *each] for name, each in chart.items()},
               lambda at: at >= asked.start)
    )  # fmt: skip
    await deployment.refresh(refresher, only_due=True)
    assert min(await deployment.hours(NAME)) < listed - 4 * DAY
    now = datetime.fromtimestamp(clock.now, UTC)
    hours, _ = await expected(deployment, refresher, now)
    assert hours - (now - listed + 5 * DAY) // HOUR in {0, 1}
