"""Coins and currencies that upstream does not have: named in each run, and asked for by time."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product

import pytest

from ingestion.run.refresher import Refresher
from simulator import SimulatorOptions
from tests.ingestion.running import Deployment, Ended
from tests.ingestion.upstream import Clock
from tests.withholding import Chart, ChartCall, Spoiler, Withholding, empty, not_found, withholding

COINS = ("bitcoin", "ripple")
ABSENT_CODES = ("xau", "sats")  # the simulator has no prices in these
CURRENCIES = ("usd", *ABSENT_CODES)
ABSENT = {f"{coin}/{code}" for coin, code in product(COINS, ABSENT_CODES)}
HOUR = 3600


@pytest.fixture(scope="module")
def time_of_both() -> Clock:
    return Clock(time.time)


@pytest.fixture(scope="module")
def upstream(time_of_both: Clock) -> Iterator[Withholding]:
    with withholding(SimulatorOptions(clock=time_of_both)) as upstream:
        yield upstream


@pytest.fixture
async def refresher(
    deployment: Deployment, upstream: Withholding, time_of_both: Clock
) -> Refresher:
    time_of_both.now = time.time() - 50 * 24 * HOUR
    return await deployment.process(
        COINS,
        CURRENCIES,
        history_days=100,
        base_url=upstream.base_url,
        now=lambda: datetime.fromtimestamp(time_of_both.now, UTC),
    )


def own_error(_: ChartCall, chart: Chart) -> Chart:
    return chart


def only_absent(spoil: Spoiler) -> Spoiler:
    return lambda asked, chart: spoil(asked, chart) if asked.currency in ABSENT_CODES else chart


async def refreshed(
    deployment: Deployment, upstream: Withholding, refresher: Refresher, *, only_due: bool = True
) -> tuple[Ended, list[ChartCall]]:
    """Refresh; how it ended, and the calls for the pairs that upstream does not have."""
    upstream.forget()
    ended = await deployment.refresh(refresher, only_due=only_due)
    return ended, [asked for asked in upstream.asked if asked.currency in ABSENT_CODES]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "first_calls", "reason"),
    [
        (empty, 3, "CoinGecko sent no prices of bitcoin in xau."),  # two windows, and the days
        (own_error, 1, "CoinGecko answered 422"),
        (not_found, 1, "CoinGecko answered 404"),
    ],
)
async def test_pairs_that_upstream_does_not_have(
    deployment: Deployment,
    upstream: Withholding,
    refresher: Refresher,
    time_of_both: Clock,
    spoil: Spoiler,
    first_calls: int,
    reason: str,
) -> None:
    upstream.spoil = only_absent(spoil)
    ended, calls = await refreshed(deployment, upstream, refresher)
    assert (ended.status, set(ended.failed)) == ("PARTIAL", ABSENT)
    assert ended.failed["bitcoin/xau"].startswith(reason)
    assert {item["status"] for item in ended.items.values()} == {"FAILED", "SUCCEEDED"}
    assert len(calls) == len(ABSENT) * first_calls
    asked_at = []
    now = time_of_both.now
    for hour in (1, 2, 7, 8, 13, 14):
        time_of_both.now = now + hour * HOUR
        ended, calls = await refreshed(deployment, upstream, refresher)
        # each time it is said which and why, but nothing is asked for in between
        assert (ended.status, set(ended.failed)) == ("PARTIAL", ABSENT)
        assert ended.failed["bitcoin/xau"].startswith(reason)
        if calls:
            asked_at.append(hour)
            assert len(calls) <= len(ABSENT) * 2
        else:
            assert " the next scheduled refresh after " in ended.failed["bitcoin/xau"]
            assert ended.items["bitcoin/xau"]["calls"] == 0
            assert ended.calls == (3, 3, 0)
    assert asked_at == [1, 7, 13]
    status = await deployment.series("bitcoin/xau")
    assert (status["last_success_at"], status["last_error"]) == (None, reason)
    # a requested refresh requests them at once, with one call for hours
    ended, calls = await refreshed(deployment, upstream, refresher, only_due=False)
    assert len([asked for asked in calls if not asked.daily]) == len(ABSENT)


@pytest.mark.slow
@pytest.mark.parametrize("only_due", [False, True])
async def test_pairs_that_upstream_has_by_now(
    deployment: Deployment,
    upstream: Withholding,
    refresher: Refresher,
    time_of_both: Clock,
    *,
    only_due: bool,
) -> None:
    """Where the newest window has prices, the others are asked for in the same run."""
    upstream.spoil = lambda asked, chart: empty(asked, chart) if asked.coin == "ripple" else chart
    for _ in range(3):
        await refreshed(deployment, upstream, refresher)
        time_of_both.now += HOUR
    upstream.spoil = None
    if only_due:
        time_of_both.now += 6 * HOUR
    ended, _ = await refreshed(deployment, upstream, refresher, only_due=only_due)
    assert ended.items["ripple/usd"]["status"] == "SUCCEEDED"
    assert len(await deployment.hours("ripple/usd")) > 99 * 24 - 20
    assert len(await deployment.days("ripple/usd")) > 360
    assert ended.run["completed_calls"] + ended.run["failed_calls"] == ended.run["planned_calls"]
