"""Refreshes that replace, and refreshes that get less history than they want."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from ingestion.run.refresher import Refresher
from simulator import Fault, SimulatorOptions, run_simulator
from tests.ingestion.running import Deployment, Ended

NAME = "bitcoin/usd"
CHART = "/market_chart/range"


async def rebuild(deployment: Deployment, refresher: Refresher) -> Ended:
    deployment.forget_calls()
    return await deployment.refresh(
        refresher, coins=("bitcoin",), currencies=("usd",), rebuild=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["html", "empty", "reset"])
async def test_a_rebuild_that_fails_costs_nothing(deployment: Deployment, kind: str) -> None:
    refresher = await deployment.process(history_days=95)
    await deployment.refresh(refresher)
    before = await deployment.hours(NAME), await deployment.days(NAME)
    # one of its two windows, or both
    for passing in (1, 0):
        deployment.simulator.clear_faults()
        if passing:
            deployment.simulator.add_fault(Fault("slow", path=CHART, seconds=0))
        deployment.simulator.add_fault(Fault(kind, path=CHART, times=None))  # type: ignore[arg-type] # kinds are literals
        ended = await rebuild(deployment, refresher)
        expected = "PARTIAL" if passing and kind == "empty" else "FAILED"
        assert ended.status == expected, ended.failed
        assert ended.rows == (0, 0)
        assert (await deployment.hours(NAME), await deployment.days(NAME)) == before
        assert ended.calls[0] == ended.calls[1] + ended.calls[2] == 4


@pytest.mark.slow
async def test_what_the_plan_offers_is_taken(deployment: Deployment) -> None:
    """The API's plan offers 92 days, HISTORY_DAYS wants 200."""
    with run_simulator(SimulatorOptions(history_days=92)) as stingy:
        refresher = await deployment.process(history_days=200, base_url=stingy.base_url)
        with capture_logs() as logs:
            ended = await deployment.refresh(refresher)
        assert ended.status == "PARTIAL"
        assert {item["status"] for item in ended.items.values()} == {"PARTIAL"}
        assert all("lower HISTORY_DAYS" in error for error in ended.failed.values())
        logged = [line for line in logs if line["event"] == "history ends"]
        assert len(logged) == 4
        assert all("lower HISTORY_DAYS" in line["error"] for line in logged)
        # of three windows one was answered, one refused, one not asked for; the days were refused
        assert ended.calls == (1 + 4 * (3 + 1) + 2, 1 + 4 + 2, 12)
        assert ended.items[NAME]["calls"] == 3
        hours = await deployment.hours(NAME)
        assert 88 * 24 < len(hours) < 90 * 24
        series = await deployment.series(NAME)
        assert timedelta(0) <= series["first_bucket"] - series["history_from"] <= timedelta(hours=3)
        assert series["last_error"] is None
        # a requested refresh requests again what was refused
        runs = [await deployment.refresh(refresher) for _ in range(4)]
    assert {item["reason"] for run in runs for item in run.items.values()} == {"BACKFILL"}
    assert [run.status for run in runs] == ["PARTIAL"] * 4
    assert [run.calls[2] for run in runs] == [12] * 4
    assert (await deployment.series(NAME))["history_from"] == series["history_from"]


async def test_no_history_at_all_is_a_failure_with_its_reason(deployment: Deployment) -> None:
    with run_simulator(SimulatorOptions(history_days=1)) as stingy:
        refresher = await deployment.process(base_url=stingy.base_url)
        ended = await deployment.refresh(refresher)
    assert ended.status == "FAILED"
    assert all("lower HISTORY_DAYS" in message for message in ended.failed.values())
    assert await deployment.sql.fetchval("SELECT count(*) FROM price_hourly") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("coin", "hint"),
    [
        ("bitcoinn", "Did you mean bitcoin or "),
        ("doge", "Did you mean dogecoin?"),
        ("zzzzqqqq", "correct COINS."),
    ],
)
async def test_an_unknown_coin_is_explained_once(
    deployment: Deployment, coin: str, hint: str
) -> None:
    refresher = await deployment.process(coins=[coin, "solana"], currencies=["usd", "eur", "gbp"])
    ended = await deployment.refresh(refresher)
    assert ended.status == "PARTIAL"
    assert set(ended.failed) == {f"{coin}/{code}" for code in ("usd", "eur", "gbp")}
    (message,) = set(ended.failed.values())
    assert message.startswith(f"CoinGecko knows no coin '{coin}': correct COINS.")
    assert hint in message
    assert len(deployment.calls("/coins/list")) == 1
    # planned: quotes, six series in hours and in days, two profiles
    assert ended.calls == (15, 8, 7)
    await deployment.assert_stored("solana/usd", "solana/gbp")


@pytest.mark.slow
async def test_a_coin_that_is_listed_is_not_unknown(deployment: Deployment) -> None:
    """A 404 that is about something else stops only the series it came for."""
    deployment.simulator.add_fault(
        Fault("error500", status=404, path=CHART, coin="bitcoin", currency="usd")
    )
    ended = await deployment.refresh(await deployment.process())
    assert ended.failed == {NAME: "CoinGecko answered 404"}


@pytest.mark.slow
async def test_a_coin_listed_a_week_ago_has_a_weeks_history(deployment: Deployment) -> None:
    refresher = await deployment.process(coins=["fresh-mint"], history_days=95)
    ended = await deployment.refresh(refresher)
    # whether it was listed then, or upstream withholds something, only later requests can show
    assert ended.status == "PARTIAL"
    await deployment.assert_stored("fresh-mint/usd", "fresh-mint/eur")
    assert 6 * 24 < len(await deployment.hours("fresh-mint/usd")) < 8 * 24
    assert (await deployment.refresh(refresher)).rows == (0, 0)


async def test_half_an_answer_is_not_believed_at_once(deployment: Deployment) -> None:
    """Every second price of the first answer is null; what it lacks comes with the next one."""
    refresher = await deployment.process(coins=["bitcoin"], currencies=["usd"], history_days=60)
    deployment.simulator.add_fault(Fault("nulls", path=CHART, times=1))
    await deployment.refresh(refresher)
    assert len(await deployment.hours(NAME)) < 800
    await deployment.refresh(refresher)
    assert len(await deployment.hours(NAME)) > 1_430


async def test_days_stand_in_for_hours_that_did_not_come(deployment: Deployment) -> None:
    """The older of two windows is answered with nothing, which may be a passing fault."""
    refresher = await deployment.process(coins=["bitcoin"], currencies=["usd"], history_days=120)
    deployment.simulator.add_fault(Fault("slow", path=CHART, seconds=0))  # the newer one passes
    deployment.simulator.add_fault(Fault("empty", path=CHART, times=1))
    await deployment.refresh(refresher)
    days = await deployment.days(NAME)
    assert len(await deployment.hours(NAME)) < 90 * 24
    assert max(days) - min(days) == timedelta(days=len(days) - 1) > timedelta(days=360)
    await deployment.refresh(refresher)
    assert len(await deployment.hours(NAME)) > 115 * 24
    assert (await deployment.days(NAME)).keys() >= days.keys()
