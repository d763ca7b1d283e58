"""Refreshes from an upstream that fails at random: each ends and reports its result."""

import math
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest
import stamina
from structlog.testing import capture_logs

from ingestion.coingecko import circuit_breaker
from ingestion.run.refresher import Refresher
from simulator import SimulatorOptions, run_simulator
from tests.fuzz.budget import SECONDS, SEED, Case, cases
from tests.fuzz.faults import COINS, CURRENCIES, asked, faults
from tests.ingestion.running import Deployment, Ended
from tests.ingestion.upstream import Clock, days_of

pytestmark = pytest.mark.endurance

_REFRESHES = 30
_SHARE = 0.1
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_NAMES = [f"{coin}/{currency}" for currency in CURRENCIES for coin in COINS]


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let retries follow at once; the client decides how many."""
    monkeypatch.setattr(circuit_breaker, "_FIRST_PAUSE", 0.0)
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@pytest.fixture
async def deployment(database_url: str, sql: asyncpg.Connection) -> AsyncIterator[Deployment]:
    """A deployment whose upstream has a fixed time."""
    clock = Clock(time.time)
    with run_simulator(SimulatorOptions(clock=clock)) as simulator:
        base = simulator.base_url.removesuffix("/api/v3")
        async with (
            httpx.AsyncClient(base_url=base) as http,
            Deployment(database_url, simulator, sql, http).running() as made,
        ):
            yield made


def _judge_run(ended: Ended) -> None:
    run, items = ended.run, ended.items
    assert ended.status in {"SUCCEEDED", "PARTIAL", "FAILED"}
    assert run["finished_at"]
    assert run["planned_calls"] == run["completed_calls"] + run["failed_calls"]
    for name, item in items.items():
        assert item["status"] in {"SUCCEEDED", "PARTIAL", "FAILED"}, (name, item)
        assert bool(item["error"]) == (item["status"] != "SUCCEEDED"), (name, item)
        assert item["finished_at"]
    statuses = {item["status"] for item in items.values()}
    if ended.status == "SUCCEEDED":
        assert statuses == {"SUCCEEDED"}
    elif ended.status == "PARTIAL":
        assert statuses not in ({"SUCCEEDED"}, {"FAILED"})
    else:
        assert run["error"] or statuses == {"FAILED"}
    for error in [run["error"], *ended.failed.values()]:
        assert error is None or (error.strip() and "Internal error" not in error), error


async def _judge_data(deployment: Deployment) -> dict[str, int]:
    """Check all stored data; return the revisions of the series."""
    revisions = {}
    for name in _NAMES:
        series = await deployment.series(name)
        hours, days = await deployment.hours(name), await deployment.days(name)
        for hour, (seen, price, *others) in hours.items():
            assert hour <= seen < hour + timedelta(hours=1)
            assert 0 < price < math.inf
            assert all(each is None or 0 <= each < math.inf for each in others)
        bounds = (min(hours), max(hours)) if hours else (None, None)
        assert (series["first_bucket"], series["last_bucket"]) == bounds, name
        expected = days_of(hours, series["history_from"] or _NEVER)
        assert {day: days[day] for day in expected} == expected, name
        for price, *same, _, _, samples in (days[day] for day in days.keys() - expected):
            assert same == [price] * 4, name  # one price is all that is known of an older day
            assert samples == 1, name
        revisions[name] = series["revision"]
    return revisions


async def _try_one(deployment: Deployment, refresher: Refresher, case: Case) -> None:
    thrown = faults(case.random)
    before = await _judge_data(deployment)
    for fault in thrown:
        deployment.simulator.add_fault(fault)
    try:
        with capture_logs() as logs:
            ended = await deployment.refresh(refresher, **asked(case.random))
        assert not [line for line in logs if line["log_level"] == "error"]
        _judge_run(ended)
        after = await _judge_data(deployment)
        assert all(after[name] >= before[name] for name in _NAMES)
        await deployment.lock_becomes_free()
    except AssertionError as error:
        error.add_note(f"in case {case.name} with {thrown}")
        raise
    finally:
        deployment.simulator.clear_faults()


async def test_faults(deployment: Deployment) -> None:
    print(f"FUZZ_SECONDS={SECONDS:g} FUZZ_SEED={SEED}")
    refresher = await deployment.process(coins=COINS, currencies=CURRENCIES)
    tried = 0
    for case in cases("faults", _REFRESHES, _SHARE):
        await _try_one(deployment, refresher, case)
        tried += 1
    print(f"{tried} refreshes with faults, {len(deployment.calls())} calls")
    deployment.forget_calls()
    with capture_logs():
        assert (await deployment.refresh(refresher, rebuild=True)).status == "SUCCEEDED"
    await deployment.assert_stored(*_NAMES)
