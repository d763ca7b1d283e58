"""What is kept of the calls for each series, compared with what upstream saw of them."""

import asyncio
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import pytest

from ingestion.coingecko.circuit_breaker import MOST_FAILURES
from ingestion.run.call_counters import CallCounters
from models.tables import RefreshTrigger
from simulator import Fault
from tests.ingestion.running import EVERYTHING, Deployment, Ended

NAMES = ["bitcoin/usd", "ethereum/usd", "bitcoin/eur", "ethereum/eur"]
CHART = "/market_chart/range"


def seen_by_upstream(deployment: Deployment) -> Counter[str]:
    """Count the calls for each series in upstream's own log."""
    seen = Counter[str]()
    for target in deployment.calls(CHART):
        parts = urlsplit(target)
        seen[f"{parts.path.split('/')[-3]}/{parse_qs(parts.query)['vs_currency'][0]}"] += 1
    return seen


def kept(ended: Ended, column: str) -> dict[str, float]:
    return {name: item[column] for name, item in ended.items.items()}


@pytest.mark.slow
async def test_calls_and_retries_are_those_that_upstream_saw(deployment: Deployment) -> None:
    for coin, currency, times in (("bitcoin", "usd", 2), ("ethereum", "eur", 1)):
        deployment.simulator.add_fault(
            Fault("error500", path=CHART, coin=coin, currency=currency, times=times)
        )
    deployment.simulator.add_fault(Fault("html", path="/simple/price", times=2))
    ended = await deployment.refresh(await deployment.process(history_days=95))
    assert ended.status == "SUCCEEDED"
    assert kept(ended, "calls") == seen_by_upstream(deployment)
    assert kept(ended, "calls") == dict(zip(NAMES, (5, 3, 3, 4), strict=True))
    assert kept(ended, "retries") == dict(zip(NAMES, (2, 0, 0, 1), strict=True))
    assert ended.run["retries"] == 2 + 1 + 2, "those for the newest prices too"
    assert set(kept(ended, "seconds_waited").values()) == {0.0}
    assert ended.run["seconds_waited"] == 0


@pytest.mark.slow
async def test_waiting_for_429_counts_for_the_series_that_was_refused(
    deployment: Deployment,
) -> None:
    for coin, times in (("bitcoin", 1), ("ethereum", 2)):
        deployment.simulator.add_fault(
            Fault("rate_limited", path=CHART, coin=coin, currency="eur", times=times, seconds=1.0)
        )
    refresher = await deployment.process(coins=["bitcoin", "ethereum"], currencies=["eur"])
    ended = await deployment.refresh(refresher)
    assert ended.status == "SUCCEEDED"
    assert kept(ended, "calls") == seen_by_upstream(deployment)
    assert kept(ended, "retries") == {"bitcoin/eur": 1, "ethereum/eur": 2}
    waited = kept(ended, "seconds_waited")
    # Refused together they wait together, and only one is charged: of 3 refusals, at least 2 pauses
    assert 1.9 <= sum(waited.values()) <= 3.0
    assert ended.run["seconds_waited"] == pytest.approx(sum(waited.values()))
    took = ended.run["finished_at"] - ended.run["started_at"]
    assert took.total_seconds() > ended.run["seconds_waited"] - 0.1


@pytest.mark.slow
async def test_failed_series_keep_what_they_cost(deployment: Deployment) -> None:
    deployment.simulator.add_fault(
        Fault("error500", path=CHART, coin="ethereum", currency="usd", times=None)
    )
    ended = await deployment.refresh(await deployment.process())
    assert list(ended.failed) == ["ethereum/usd"]
    item = ended.items["ethereum/usd"]
    assert (item["calls"], item["retries"]) == (3, 2)
    assert kept(ended, "calls") == seen_by_upstream(deployment)
    assert ended.run["retries"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rate_limited", "no access"])
async def test_a_run_that_ends_early_keeps_what_it_cost(deployment: Deployment, kind: str) -> None:
    """Those whose turn was cut short by it, too."""
    fault = (
        Fault("rate_limited", path=CHART, times=None, seconds=0.0)
        if kind == "rate_limited"
        else Fault("error500", path=CHART, coin="ethereum", times=None, status=401)
    )
    deployment.simulator.add_fault(fault)
    ended = await deployment.refresh(await deployment.process())
    assert ended.status == "FAILED"
    seen = seen_by_upstream(deployment)
    for name, calls in kept(ended, "calls").items():
        assert 0 <= calls - seen[name] <= 1, "the end may cut a call off that has just left"
    assert ended.run["retries"] == sum(kept(ended, "retries").values())
    if kind == "rate_limited":
        # the run counts the refusals that are waited for: those in flight together count once
        assert MOST_FAILURES <= sum(kept(ended, "calls").values()) <= MOST_FAILURES + 3


async def test_an_interrupted_run_keeps_what_it_cost(deployment: Deployment) -> None:
    refresher = await deployment.process()
    deployment.simulator.add_fault(Fault("slow", path=CHART, times=None, seconds=30))
    run_id, _ = await refresher.start(EVERYTHING, RefreshTrigger.COMMAND)
    async with asyncio.timeout(60):
        while sum(seen_by_upstream(deployment).values()) < 4:  # noqa: ASYNC110 - upstream's log
            await asyncio.sleep(0.01)
    await refresher.interrupt()
    ended = await deployment.ended(run_id)
    assert ended.status == "INTERRUPTED"
    assert kept(ended, "calls") == dict.fromkeys(NAMES, 1) == seen_by_upstream(deployment)


def test_what_may_not_have_been_written_is_written_again() -> None:
    call_counters = CallCounters()
    call_counters.of(7).attempts = 3
    call_counters.of(8)
    assert call_counters.unwritten() == {7: {"calls": 3, "retries": 0, "seconds_waited": 0.0}}
    assert call_counters.unwritten() == {}
    call_counters.rewrite()
    assert list(call_counters.unwritten()) == [7]


def test_the_total_counts_nothing_twice() -> None:
    call_counters = CallCounters()
    first, second = call_counters.of(1), call_counters.of(2)
    first.retries, first.paused_seconds = 2, 0.5
    assert call_counters.run(1) == call_counters.run(1) == {"retries": 2, "seconds_waited": 0.5}
    second.retries, first.retries, call_counters.others.retries = 1, 3, 4
    assert call_counters.run()["retries"] == 2 + 4
    assert call_counters.run(1, 2) == {"retries": 3 + 1 + 4, "seconds_waited": 0.5}
