"""Gaps in what is stored: the next refresh asks for all of them, and fills those it can."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from ingestion.run.refresher import Refresher
from models.tables import RefreshTrigger
from simulator import Fault
from tests.ingestion.running import EVERYTHING, Deployment, Ended
from tests.ingestion.upstream import Clock, hours_of, moment

NAMES = ["bitcoin/usd", "ethereum/usd", "bitcoin/eur", "ethereum/eur"]
NAME = "bitcoin/usd"
CHART = "/market_chart/range"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROUTINE = (5, 5, 0)  # the newest prices, and each series


def reasons(ended: Ended) -> set[str]:
    return {item["reason"] for item in ended.items.values()}


def ranges(deployment: Deployment) -> list[tuple[datetime, datetime]]:
    """Which ranges of hours were asked for, in the order of the calls."""
    asked = [parse_qs(urlsplit(target).query) for target in deployment.charts()]
    return [(moment(int(q["from"][0]) * 1000), moment(int(q["to"][0]) * 1000)) for q in asked]


async def missing(deployment: Deployment, name: str) -> list[datetime]:
    """Which hours between the first and the last are not stored."""
    hours = await deployment.hours(name)
    first, last = min(hours), max(hours)
    every = (first + number * HOUR for number in range((last - first) // HOUR))
    return [at for at in every if at not in hours]


async def refreshed(deployment: Deployment, refresher: Refresher) -> Ended:
    deployment.forget_calls()
    return await deployment.refresh(refresher)


@pytest.mark.slow
async def test_upstreams_own_gaps_are_requested_with_the_calls_that_are_made_anyway(
    deployment: Deployment,
) -> None:
    refresher = await deployment.process(history_days=80)
    await deployment.refresh(refresher)
    gaps = {name: await missing(deployment, name) for name in NAMES}
    old = [at for name in NAMES for at in gaps[name] if at < datetime.now(UTC) - 3 * DAY]
    assert old  # 0.15 % of 4 x 1,850 hours
    for _ in range(2):
        ended = await refreshed(deployment, refresher)
        assert (ended.calls, ended.status) == (ROUTINE, "SUCCEEDED")
    # they are kept hour by hour
    for name in NAMES:
        rows = await deployment.sql.fetch(
            "SELECT generate_series(starts, ends - interval '1 hour', '1 hour') AS hour "
            "FROM price_gap WHERE series_id = $1 ORDER BY 1",
            (await deployment.series(name))["id"],
        )
        assert [row["hour"] for row in rows] == gaps[name]


@pytest.mark.slow
async def test_deleted_rows_come_back_with_the_next_refresh(
    deployment: Deployment,
) -> None:
    refresher = await deployment.process(history_days=80)
    await deployment.refresh(refresher)
    hours, days = await deployment.hours(NAME), await deployment.days(NAME)
    top = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    deleted = [top - 70 * DAY, top - 40 * DAY, top - 39 * DAY]
    await deployment.sql.execute(
        "DELETE FROM price_hourly WHERE series_id = $1 AND (bucket BETWEEN $2 AND $2 + "
        "interval '50 hours' OR bucket = ANY($3))",
        (await deployment.series(NAME))["id"], deleted[0], deleted[1:],
    )  # fmt: skip
    lost = len(hours) - len(await deployment.hours(NAME))
    assert lost > 45
    ended = await refreshed(deployment, refresher)
    # the routine call reaches back far enough to bring them along
    assert ended.calls == ROUTINE
    assert ended.items[NAME]["reason"] == "GAP"
    assert ended.rows == (lost, 0)
    assert (await deployment.hours(NAME), await deployment.days(NAME)) == (hours, days)


@pytest.mark.slow
async def test_a_gap_out_of_the_routines_reach_takes_one_call(deployment: Deployment) -> None:
    refresher = await deployment.process(coins=["bitcoin"], currencies=["usd"], history_days=200)
    await deployment.refresh(refresher)
    hours = await deployment.hours(NAME)
    old = sorted(hours)[100]
    await deployment.sql.execute("DELETE FROM price_hourly WHERE bucket = $1", old)
    ended = await refreshed(deployment, refresher)
    assert ended.rows[0] == 1
    assert sum(start <= old < end for start, end in ranges(deployment)) == 1
    assert len(deployment.charts()) <= 3  # upstream's own gaps take the others
    assert (await deployment.hours(NAME)).keys() == hours.keys()


@pytest.mark.slow
async def test_a_fully_deleted_history_is_requested_again(deployment: Deployment) -> None:
    refresher = await deployment.process()
    await deployment.refresh(refresher)
    hours = await deployment.hours(NAME)
    await deployment.sql.execute("DELETE FROM price_hourly")
    ended = await refreshed(deployment, refresher)
    assert (ended.calls, reasons(ended)) == (ROUTINE, {"GAP"})
    assert await deployment.hours(NAME) == hours


@pytest.mark.slow
async def test_three_days_without_a_server_are_brought_by_the_next_refresh(
    deployment: Deployment, clock: Clock
) -> None:
    refresher = await deployment.process(history_days=20)
    clock.now = time.time() - 8 * 86_400
    await deployment.refresh(refresher)
    clock.now = time.time() - 5 * 86_400  # three days later
    ended = await refreshed(deployment, refresher)
    assert ended.calls == ROUTINE
    assert ended.rows[0] > 4 * 70
    clock.now = time.time()
    ended = await refreshed(deployment, refresher)
    assert (ended.calls, reasons(ended)) == (ROUTINE, {"GAP"})
    assert ended.rows[0] > 4 * 118
    await _assert_whole(deployment, 20)


async def _assert_whole(deployment: Deployment, days: int) -> None:
    """Ask once more for all of it, past our client, and compare."""
    for name in NAMES:
        coin, currency = name.split("/")
        start = (await deployment.series(name))["history_from"]
        params: dict[str, str | float] = {
            "vs_currency": currency,
            "from": start.timestamp(),
            "to": time.time(),
        }
        answer = await deployment.http.get(f"/api/v3/coins/{coin}{CHART}", params=params)
        expected, _ = hours_of([answer.json()])
        assert len(expected) > days * 23
        assert (await deployment.hours(name)).keys() == expected.keys()


@pytest.mark.slow
async def test_a_gap_whose_call_fails_is_requested_again(deployment: Deployment) -> None:
    refresher = await deployment.process(history_days=20)
    await deployment.refresh(refresher)
    hours = await deployment.hours(NAME)
    await deployment.sql.execute(
        "DELETE FROM price_hourly WHERE bucket < now() - interval '10 days'"
    )
    deployment.simulator.add_fault(Fault("html", path=CHART, times=None))
    for _ in range(4):
        assert (await refreshed(deployment, refresher)).status == "FAILED"
    deployment.simulator.clear_faults()
    ended = await refreshed(deployment, refresher)
    assert (ended.status, reasons(ended)) == ("SUCCEEDED", {"GAP"})
    assert await deployment.hours(NAME) == hours


async def test_a_year_of_hours_stays_within_what_upstream_offers(deployment: Deployment) -> None:
    refresher = await deployment.process(coins=["bitcoin"], currencies=["usd"], history_days=365)
    ended = await deployment.refresh(refresher)
    assert (ended.status, ended.calls) == ("SUCCEEDED", (1 + 5 + 1, 1 + 5 + 1, 0))
    assert all(asked.status == 200 for asked in deployment.simulator.requests[-7:])
    hours = await deployment.hours(NAME)
    assert timedelta(0) < min(hours) - (datetime.now(UTC) - 365 * DAY) < 5 * HOUR
    assert len(hours) > 364 * 24 - 60


@pytest.mark.slow
async def test_what_an_interrupted_run_stored_is_not_requested(deployment: Deployment) -> None:
    """What was asked for is remembered in the transaction that stores it."""
    refresher = await deployment.process(history_days=80)
    deployment.simulator.add_fault(
        Fault("slow", path=CHART, currency="eur", times=None, seconds=30)
    )
    run_id, _ = await refresher.start(EVERYTHING, RefreshTrigger.COMMAND)
    stored = "SELECT count(*) = 2 FROM refresh_run_item WHERE status = 'SUCCEEDED'"
    async with asyncio.timeout(60):
        while not await deployment.sql.fetchval(stored):  # noqa: ASYNC110 - what others do
            await asyncio.sleep(0.01)
    await refresher.interrupt()
    assert (await deployment.ended(run_id)).status == "INTERRUPTED"
    deployment.simulator.clear_faults()
    ended = await refreshed(deployment, await deployment.process(history_days=80))
    # of the first two, the days before the hours are missing: they come last, and are brought now
    assert [item["reason"] for item in ended.items.values()] == ["BACKFILL"] * 2 + [
        "FIRST_LOAD"
    ] * 2
    assert ended.status == "SUCCEEDED"
    assert len(deployment.charts()) == 4
    assert len(deployment.charts(daily=True)) == 4
    assert (await refreshed(deployment, refresher)).calls == ROUTINE


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["html", "reset", "empty"])
async def test_days_that_fail_are_requested_by_the_next_refresh(
    deployment: Deployment, kind: str
) -> None:
    refresher = await deployment.process(coins=["bitcoin"])
    # two series, then the profile, then the days
    deployment.simulator.add_fault(Fault("slow", path=CHART, times=2, seconds=0))
    deployment.simulator.add_fault(Fault(kind, path=CHART, times=None))  # type: ignore[arg-type] # kinds are literals
    ended = await deployment.refresh(refresher)
    assert (ended.status, ended.calls) == ("PARTIAL", (6, 4, 2))
    assert {item["status"] for item in ended.items.values()} == {"PARTIAL"}
    assert len(ended.failed) == 2
    deployment.simulator.clear_faults()
    ended = await refreshed(deployment, refresher)
    assert (ended.status, ended.calls) == ("SUCCEEDED", (5, 5, 0))
    assert reasons(ended) == {"BACKFILL"}
    assert len(deployment.charts(daily=True)) == 2
    assert len(await deployment.days(NAME)) > 360
    assert (await refreshed(deployment, refresher)).calls == (3, 3, 0)
