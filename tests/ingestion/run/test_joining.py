"""Which requests the run under way answers, and what becomes of the others."""

import asyncio
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from ingestion.run.joining import RefreshBusyError, RunScope, busy_error, request_values
from ingestion.run.refresher import Refresher, RefreshRequest
from models.runs import new_run_id
from models.tables import RefreshTrigger
from tests.ingestion.running import Deployment

ALL = frozenset(product(("bitcoin", "ethereum"), ("usd", "eur")))
SOME = frozenset(product(("bitcoin",), ("usd", "eur")))
HISTORY = 90


def work(series: frozenset[tuple[str, str]] = ALL, **asked: Any) -> RunScope:
    return RunScope(
        series, asked.get("days"), asked.get("rebuild", False), asked.get("only_due", False)
    )


@pytest.mark.parametrize(
    ("running", "wanted", "covered"),
    [
        (work(), work(), True),
        (work(), work(SOME), True),
        (work(SOME), work(), False),
        (work(SOME), work(SOME), True),
        (work(), work(days=7), True),
        (work(), work(days=90), True),
        (work(), work(days=91), False),
        (work(days=7), work(days=7), True),
        (work(days=7), work(days=6), True),
        (work(days=7), work(days=8), False),
        (work(days=7), work(), False),  # which may lack more than that
        (work(days=90), work(), True),
        (work(rebuild=True), work(), True),
        (work(rebuild=True), work(rebuild=True), True),
        (work(), work(rebuild=True), False),
        (work(rebuild=True, days=7), work(rebuild=True), False),
        (work(rebuild=True, days=7), work(SOME, days=5), True),
        (work(SOME, rebuild=True), work(rebuild=True), False),
        (work(only_due=True), work(), False),  # which may ask for what is left out
        (work(only_due=True), work(only_due=True), True),
        (work(), work(only_due=True), True),
        (work(days=7), work(only_due=True), False),
    ],
)
def test_what_is_covered(running: RunScope, wanted: RunScope, covered: bool) -> None:
    assert running.covers(wanted, HISTORY) is covered


def test_a_request_is_read_as_it_was_noted() -> None:
    for request in (
        RefreshRequest(),
        RefreshRequest(coins=("bitcoin",), days=3),
        RefreshRequest(rebuild=True),
        RefreshRequest(only_due=True),
    ):
        expected = RunScope(ALL, request.days, request.rebuild, request.only_due)
        assert RunScope.from_request(request_values(request), ALL) == expected


@pytest.mark.parametrize(
    ("left", "after"), [(None, 1), (0.0, 1), (0.2, 1), (41.2, 42), (1e9, 3600)]
)
def test_when_to_come_again(left: float | None, after: int) -> None:
    run_id = new_run_id()
    error = busy_error(run_id, left)
    assert error.retry_after == after
    assert str(run_id) in str(error)
    assert f"{after} seconds" in str(error)


async def ask(refresher: Refresher, key: str | None = None, **asked: Any) -> tuple[UUID, bool]:
    return await refresher.start(RefreshRequest(**asked), RefreshTrigger.MUTATION, key=key)


@pytest.mark.slow
async def test_a_request_for_other_work_is_refused_in_any_process(deployment: Deployment) -> None:
    here, there = await deployment.process(), await deployment.process()
    deployment.hold_up()
    run_id, _ = await ask(here, coins=("bitcoin",), days=3)
    for process in (here, there):
        same: list[dict[str, Any]] = [
            {"coins": ("bitcoin",), "days": 3},
            {"coins": ("bitcoin",), "currencies": ("eur",), "days": 2},
        ]
        for asked in same:
            assert await ask(process, **asked) == (run_id, False)
        others: list[dict[str, Any]] = [
            {},
            {"coins": ("bitcoin",)},
            {"coins": ("bitcoin",), "days": 4},
            {"coins": ("ethereum",), "days": 3},
            {"coins": ("bitcoin",), "days": 3, "rebuild": True},
        ]
        for other in others:
            with pytest.raises(RefreshBusyError) as refused:
                await ask(process, key="later", **other)
            assert str(run_id) in str(refused.value)
            assert refused.value.retry_after is not None
            assert 1 <= refused.value.retry_after <= 60
    assert await deployment.sql.fetchval("SELECT count(*) FROM refresh_run_key") == 0
    deployment.simulator.clear_faults()
    await here.wait(run_id)
    next_id, started = await ask(there, key="later", coins=("ethereum",))
    assert started
    await there.wait(next_id)
    assert list((await deployment.ended(next_id)).items) == ["ethereum/usd", "ethereum/eur"]


@pytest.mark.slow
async def test_a_key_is_answered_before_anything_is_compared(deployment: Deployment) -> None:
    """While its run is under way, after it, and while another one is."""
    here, there = await deployment.process(), await deployment.process()
    deployment.hold_up()
    run_id, _ = await ask(here, key="nightly", coins=("bitcoin",))
    for process in (here, there):
        assert await ask(process, key="nightly", rebuild=True) == (run_id, False)
    await here.interrupt()
    other, started = await ask(there, coins=("ethereum",))
    assert started
    for process in (here, there):
        assert await ask(process, key="nightly", coins=("bitcoin",)) == (run_id, False)
    deployment.simulator.clear_faults()
    await there.wait(other)


@pytest.mark.slow
async def test_the_same_and_other_work_at_once(deployment: Deployment) -> None:
    """Requests join the first run or are refused: none counts as done without its work."""
    processes = [await deployment.process() for _ in range(3)]
    deployment.hold_up()
    wanted = [("bitcoin",), ("ethereum",)] * 6
    answers = await asyncio.gather(
        *(ask(processes[n % 3], coins=coins) for n, coins in enumerate(wanted)),
        return_exceptions=True,
    )
    runs = {answer[0] for answer in answers if isinstance(answer, tuple)}
    (run_id,) = runs
    items = (await deployment.ended(run_id)).items
    for coins, answer in zip(wanted, answers, strict=True):
        joined = f"{coins[0]}/usd" in items
        assert isinstance(answer, tuple if joined else RefreshBusyError)
    deployment.simulator.clear_faults()
    await asyncio.gather(*(each.wait(run_id) for each in processes))


async def test_a_stopping_refresher_starts_no_run(deployment: Deployment) -> None:
    refresher = await deployment.process()
    deployment.hold_up()
    run_id, started = await ask(refresher)
    assert started
    await refresher.stop()
    assert (await deployment.ended(run_id)).status == "INTERRUPTED"
    with pytest.raises(RefreshBusyError, match="stopping"):
        await ask(refresher)
    assert await deployment.sql.fetchval("SELECT count(*) FROM refresh_run") == 1
