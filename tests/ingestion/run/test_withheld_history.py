"""Whatever upstream withholds for a while, and however often it is asked: nothing is lost by it.

A real database, a real upstream over HTTP, and a clock that both go by.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.coingecko.client import CoinGecko
from ingestion.quota.throttle import Throttle
from ingestion.run.refresher import Refresher, RefreshRequest
from models.coins import seed
from models.history import floor_day, floor_hour
from models.postgres.database import Database
from models.prices.granularity import Granularity
from models.tables import Coin, Currency, RefreshTrigger
from resolvers.coverage import CoverageQuery, coverages
from simulator import SimulatorOptions
from tests.conftest import new_database
from tests.ingestion.upstream import Clock
from tests.serving import connected
from tests.withholding import (
    Chart,
    ChartCall,
    Spoiler,
    Withholding,
    days_for_hours,
    empty,
    half_null,
    not_found,
    points,
    refused,
    withholding,
    without,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEY = ("bitcoin", "usd")
HISTORY_DAYS = 95  # two windows of hours, and days before them
DUE, ALL = RefreshRequest(only_due=True), RefreshRequest()


@dataclass
class World:
    """An upstream and a deployment, and the moment that it is for both."""

    upstream: Withholding
    clock: Clock
    database_url: str

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now, UTC)


@pytest.fixture(scope="module")
def world(postgres_url: str, template: str) -> Iterator[World]:
    clock = Clock(time.time)
    with (
        new_database(postgres_url, template) as database_url,
        withholding(SimulatorOptions(clock=clock)) as upstream,
    ):
        yield World(upstream, clock, database_url)


def mixed(hours: Spoiler, days: Spoiler) -> Spoiler:
    return lambda asked, chart: (days if asked.daily else hours)(asked, chart)


def keeping(share: int) -> Spoiler:
    """Leave out all but one of so many hours of the clock."""
    return lambda _, chart: points(chart, lambda at: at // 3_600_000 % share == 0)


def true(_: ChartCall, chart: Chart) -> Chart:
    return chart


_gaps = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(
    lambda edges: without(max(edges), min(edges))
)
_long_gaps = st.tuples(st.integers(0, 370), st.integers(0, 370)).map(
    lambda edges: without(max(edges), min(edges))
)
_any = st.sampled_from([true, empty, half_null, refused, not_found, keeping(2), keeping(50)])
_spoilers = st.builds(mixed, _any | _gaps | st.just(days_for_hours), _any | _long_gaps)
_pauses = st.sampled_from([timedelta(seconds=1), 20 * timedelta(minutes=1), HOUR, 6 * HOUR, DAY])
_steps = st.tuples(_spoilers, _pauses, st.booleans())


@pytest.mark.endurance
@settings(
    max_examples=15, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(steps=st.lists(_steps, min_size=1, max_size=5), at_once=st.booleans())
def test_all_of_it_comes_once_upstream_has_it(
    world: World, steps: list[tuple[Spoiler, timedelta, bool]], *, at_once: bool
) -> None:
    asyncio.run(_live(world, steps, at_once=at_once))


async def _live(
    world: World, steps: list[tuple[Spoiler, timedelta, bool]], *, at_once: bool
) -> None:
    # long enough ago that what follows is over by now
    world.clock.now = time.time() - 60 * 86_400
    database = Database(world.database_url)
    throttle = Throttle(600_000, database=database)
    async with (
        CoinGecko(throttle=throttle, base_url=world.upstream.base_url, attempts=1) as client,
        connected(world.database_url) as sql,
    ):
        tables = await sql.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN"
            " ('alembic_version', 'deployment', 'upstream_pace')"
        )
        await sql.execute(f"TRUNCATE {', '.join(row[0] for row in tables)} CASCADE")
        async with database.write() as session:
            await seed(
                session,
                [Coin(id=KEY[0], symbol="btc", name="Bitcoin")],
                [Currency(code=KEY[1], name="US Dollar", symbol="$")],
            )
        refresher = Refresher(
            database,
            client,
            coins=KEY[:1],
            currencies=KEY[1:],
            history_days=HISTORY_DAYS,
            now=lambda: world.now,
        )
        for spoil, pause, due in steps:
            world.upstream.spoil = spoil
            await _refresh(refresher, DUE if due else ALL)
            await _assert_reported(world, database, refresher)
            world.clock.now += pause.total_seconds()
        world.upstream.spoil = None
        if at_once:
            await _refresh(refresher, ALL)
        else:  # by schedule, as time passes
            for hours in (0, 1, 6, 24, 72):
                world.clock.now += hours * 3600
                await _refresh(refresher, DUE)
        assert await _lacking(world, database) == (set(), set())
        await _assert_reported(world, database, refresher)
    await database.close()


async def _refresh(refresher: Refresher, request: RefreshRequest) -> None:
    run_id, started = await refresher.start(request, RefreshTrigger.COMMAND)
    assert started
    await refresher.wait(run_id)
    await refresher.interrupt()


async def _truth(world: World) -> tuple[set[datetime], set[datetime]]:
    """Which hours and days upstream has of what the settings ask for, asked past our client."""
    spoil, world.upstream.spoil = world.upstream.spoil, None
    now, start = world.now, floor_hour(world.now - HISTORY_DAYS * DAY)
    edges = [start, start + 50 * DAY, floor_hour(now)]
    hours = {floor_hour(at) for at in await _prices(world, edges[0], edges[1])}
    hours |= {floor_hour(at) for at in await _prices(world, edges[1], edges[2])}
    days = {floor_day(at) for at in await _prices(world, floor_hour(now - 364 * DAY), now)}
    world.upstream.spoil = spoil
    return {at for at in hours if start <= at < edges[2]}, {
        at for at in days if at < floor_day(now)
    }


async def _prices(world: World, start: datetime, end: datetime) -> list[datetime]:
    params = {"vs_currency": KEY[1], "from": str(start.timestamp()), "to": str(end.timestamp())}
    async with httpx.AsyncClient(timeout=120) as http:
        path = f"{world.upstream.base_url}/coins/{KEY[0]}/market_chart/range"
        prices = (await http.get(path, params=params)).json()["prices"]
    return [datetime.fromtimestamp(at / 1000, UTC) for at, price in prices if price is not None]


async def _stored(database: Database) -> tuple[set[datetime], set[datetime]]:
    hours = await database.fetch("SELECT bucket FROM price_hourly")
    days = await database.fetch("SELECT day::timestamp AT TIME ZONE 'UTC' FROM price_daily")
    return {row[0] for row in hours}, {row[0] for row in days}


async def _lacking(world: World, database: Database) -> tuple[set[datetime], set[datetime]]:
    """Which hours and days upstream has that are not stored."""
    (hours, days), (stored, stored_days) = await _truth(world), await _stored(database)
    return hours - stored, days - stored_days


async def _assert_reported(world: World, database: Database, refresher: Refresher) -> None:
    """What upstream has and the database has not is missing in `coverage`, and never upstream's."""
    now = world.now
    lacking = await _lacking(world, database)
    for granularity, missing in zip((Granularity.HOUR, Granularity.DAY), lacking, strict=True):
        question = CoverageQuery(KEY, granularity, now - 400 * DAY, now)
        [found] = await coverages(database, [question], now, refresher.tracked)
        assert not isinstance(found, Exception)
        gaps: list[Any] = list(zip(found.starts, found.ends, found.upstream, strict=True))
        for at in missing:
            inside = [gap for gap in gaps if gap[0] <= at.replace(tzinfo=None) < gap[1]]
            assert [gap[2] for gap in inside] == [False], (granularity, at)
        assert found.expected - found.present >= len(missing)
        days = HISTORY_DAYS if granularity is Granularity.HOUR else 364
        assert found.expected >= days * (24 if granularity is Granularity.HOUR else 1)
