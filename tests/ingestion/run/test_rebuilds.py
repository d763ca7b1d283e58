"""Rebuilds: what they replace, and that they never replace much by little."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion.run.refresher import Refresher
from tests.ingestion.running import Deployment, Ended
from tests.ingestion.scripted import HOUR_MS, ScriptedUpstream, scripted

NAME = "bitcoin/usd"
DAY_MS = 86_400_000


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted() as made:
        yield made


async def loaded(
    deployment: Deployment, upstream: ScriptedUpstream, *, history_days: int = 90
) -> Refresher:
    refresher = await deployment.process(
        ["bitcoin"], ["usd"], base_url=upstream.url, history_days=history_days
    )
    await deployment.refresh(refresher)
    return refresher


async def stored(deployment: Deployment) -> tuple[Any, ...]:
    return await deployment.hours(NAME), await deployment.days(NAME)


def without(lost: Callable[[int], bool]) -> Callable[[Any], Any]:
    """Take points away from all three arrays, by their time in milliseconds."""
    return lambda chart: {
        name: [point for point in points if not lost(point[0])] for name, points in chart.items()
    }


async def rebuild(deployment: Deployment, refresher: Refresher, **asked: Any) -> Ended:
    return await deployment.refresh(refresher, rebuild=True, **asked)


async def test_a_rebuild_replaces_what_upstream_has_and_leaves_what_is_older(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    refresher = await loaded(deployment, upstream, history_days=5)
    hours, days = await stored(deployment)
    series = await deployment.series(NAME)
    old = series["history_from"] - timedelta(days=30)
    await deployment.sql.execute(
        "INSERT INTO price_hourly VALUES ($1, $2, $2, 7.0)", series["id"], old
    )
    # upstream takes back one hour of twenty, and doubles the prices of the others
    upstream.spoil["chart"] = lambda chart: {
        "prices": [[at, 2 * price] for at, price in chart["prices"] if at // 3_600_000 % 20]
    }
    ended = await rebuild(deployment, refresher)
    assert (ended.status, ended.items[NAME]["reason"]) == ("SUCCEEDED", "REBUILD")
    again, days_again = await stored(deployment)
    assert again.pop(old) == (old, 7.0, None, None)
    assert again == {
        hour: (row[0], 2 * row[1], *row[2:])  # caps of the same observation stay
        for hour, row in hours.items()
        if int(hour.timestamp()) // 3600 % 20
    }
    assert days_again.keys() == days.keys()


@pytest.mark.slow
@pytest.mark.parametrize("kept_days", [10, 45, 80])
async def test_a_rebuild_never_replaces_much_by_little(
    deployment: Deployment, upstream: ScriptedUpstream, kept_days: int
) -> None:
    refresher = await loaded(deployment, upstream)
    before = await stored(deployment)
    assert len(before[0]) > 2_150
    edge = int(datetime.now(UTC).timestamp() * 1000) - kept_days * DAY_MS
    upstream.spoil["chart"] = without(lambda at: at < edge)
    ended = await rebuild(deployment, refresher)
    assert ended.status == "FAILED"
    assert "nothing was replaced" in ended.failed[NAME]
    assert f"CoinGecko sent {kept_days * 24:,}"[:-1] in ended.failed[NAME]
    assert ended.rows == (0, 0)
    assert await stored(deployment) == before
    # once upstream has it all again, so has a rebuild
    upstream.spoil.clear()
    assert (await rebuild(deployment, refresher)).status == "SUCCEEDED"
    assert await stored(deployment) == before


async def test_a_rebuild_says_what_little_it_removed(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    refresher = await loaded(deployment, upstream)
    hours, days = await stored(deployment)
    upstream.spoil["chart"] = without(lambda at: at // HOUR_MS % 20 == 0)
    upstream.spoil["daily"] = without(lambda at: at // DAY_MS % 20 == 0)
    ended = await rebuild(deployment, refresher)
    hours_left, days_left = await stored(deployment)
    lost, lost_days = len(hours) - len(hours_left), len(days) - len(days_left)
    assert min(lost, lost_days) > 3
    assert ended.items[NAME]["note"] == (
        f"The rebuild removed {lost} hours that CoinGecko did not send this time. "
        f"The rebuild removed {lost_days} days that CoinGecko did not send this time."
    )
    assert ended.run["note"] == "1 item with a note."


async def test_one_series_that_would_lose_much_stops_no_other(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    refresher = await deployment.process(
        ["bitcoin", "ethereum"], ["usd"], base_url=upstream.url, history_days=5
    )
    await deployment.refresh(refresher)
    half = without(lambda at: bool(at // 3_600_000 % 2))
    upstream.spoil_chart = lambda chart, coin: half(chart) if coin == "ethereum" else chart
    ended = await rebuild(deployment, refresher)
    assert (ended.status, list(ended.failed)) == ("PARTIAL", ["ethereum/usd"])


@pytest.mark.slow
async def test_a_shorter_history_is_no_loss(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    await loaded(deployment, upstream, history_days=90)
    before = await stored(deployment)
    shorter = await deployment.process(["bitcoin"], ["usd"], base_url=upstream.url, history_days=10)
    for asked in ({}, {"days": 3}):
        ended = await rebuild(deployment, shorter, **asked)
        assert (ended.status, ended.rows) == ("SUCCEEDED", (0, 0))
        assert await stored(deployment) == before


async def test_a_rebuild_never_replaces_many_days_by_few(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    refresher = await loaded(deployment, upstream, history_days=5)
    before = await stored(deployment)
    assert len(before[1]) > 360
    edge = int(datetime.now(UTC).timestamp() * 1000) - 100 * DAY_MS
    upstream.spoil["daily"] = without(lambda at: at < edge)
    ended = await rebuild(deployment, refresher)
    assert ended.calls[2] == 1
    assert "Days were not stored: CoinGecko sent" in ended.items[NAME]["error"]
    assert await stored(deployment) == before


async def test_days_come_even_where_no_series_gets_hours(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    upstream.spoil["chart"] = without(lambda at: at // HOUR_MS % 24 != 0)  # days in their place
    refresher = await deployment.process(["bitcoin"], ["usd"], base_url=upstream.url)
    ended = await deployment.refresh(refresher)
    assert ended.status == "PARTIAL"
    assert "days instead of hours" in ended.failed[NAME]
    assert len(await deployment.days(NAME)) > 360


@pytest.mark.parametrize("rebuilt", [False, True])
async def test_daily_points_minutes_past_midnight_are_days(
    deployment: Deployment, upstream: ScriptedUpstream, *, rebuilt: bool
) -> None:
    """As those of BTC on 2018-01-30 and 2018-02-08."""
    upstream.offset_ms = 318_000
    refresher = await loaded(deployment, upstream, history_days=5)
    if rebuilt:
        await rebuild(deployment, refresher)
    days = await deployment.days(NAME)
    assert 364 <= len(days) <= 366
    assert max(days) - min(days) == timedelta(days=len(days) - 1)
    assert {row[7] for day, row in days.items() if day < max(days) - timedelta(days=7)} == {1}


async def test_a_refresh_moves_no_hour_to_a_later_observation(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    """Each hour has two samples; later answers lack the earlier ones of some hours."""

    def doubled(chart: Any) -> Any:
        late = [[at + 1_800_000, price + 1] for at, price in chart["prices"][:-1]]
        return {**chart, "prices": sorted([*chart["prices"], *late])}

    upstream.spoil["chart"] = doubled
    refresher = await loaded(deployment, upstream, history_days=3)
    before = await stored(deployment)
    now = int(datetime.now(UTC).timestamp() * 1000)

    def lacking(chart: Any) -> Any:
        return without(
            lambda at: (
                at % 3_600_000 == 270_000 and at // 3_600_000 % 3 == 0 and at < now - 7_200_000
            )
        )(doubled(chart))

    upstream.spoil["chart"] = lacking
    ended = await deployment.refresh(refresher)
    assert (ended.status, ended.rows[1]) == ("SUCCEEDED", 0)
    assert await stored(deployment) == before
    # what it says of the same observations is taken
    upstream.spoil["chart"] = lambda chart: {
        **chart, "prices": [[at, 2 * price] for at, price in lacking(chart)["prices"]]
    }  # fmt: skip
    ended = await deployment.refresh(refresher)
    assert ended.rows[1] > 20
    hours = await deployment.hours(NAME)
    assert {hour: row[0] for hour, row in hours.items()} == {
        hour: row[0] for hour, row in before[0].items()
    }
    # a rebuild takes what upstream has now
    await rebuild(deployment, refresher)
    moved = [row[0].minute for row in (await deployment.hours(NAME)).values()]
    assert moved.count(34) > 20
