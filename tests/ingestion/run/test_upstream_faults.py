"""Refreshes of an upstream that fails: what is lost, what is not, and what is said of it."""

import asyncio
from collections import defaultdict
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from simulator import Fault, SimulatorOptions, run_simulator
from tests.ingestion.running import Deployment

NAMES = ["bitcoin/usd", "ethereum/usd", "bitcoin/eur", "ethereum/eur"]
VICTIM = "ethereum/usd"
CHART = "/market_chart/range"


def on_victim(kind: Any, **more: Any) -> Fault:
    return Fault(kind, path=CHART, coin="ethereum", currency="usd", times=None, **more)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (on_victim("error500"), "CoinGecko answered 500"),
        (on_victim("error500", nested=True, status=503), "CoinGecko answered 503"),
        (on_victim("error500", status=400), "CoinGecko answered 400"),
        (on_victim("html"), "CoinGecko answered 502"),
        (on_victim("forbidden"), "CoinGecko answered 403"),
        (on_victim("truncated"), "CoinGecko answered 200 with no JSON"),
        (on_victim("reset"), "CoinGecko cannot be reached"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_one_series_failure_stops_no_other(
    deployment: Deployment, fault: Fault, said: str
) -> None:
    deployment.simulator.add_fault(fault)
    refresher = await deployment.process()
    ended = await deployment.refresh(refresher)
    assert ended.status == "PARTIAL"
    assert list(ended.failed) == [VICTIM]
    assert ended.failed[VICTIM].partition(": ")[0] == said, "none of upstream's words"
    assert ended.calls == (11, 9, 2)  # its days are not asked for without its hours
    series = await deployment.series(VICTIM)
    assert (series["last_error"], series["consecutive_failures"]) == (ended.failed[VICTIM], 1)
    assert (series["last_success_at"], series["history_from"]) == (None, None)
    assert await deployment.hours(VICTIM) == {}
    # the next one repairs it
    deployment.simulator.clear_faults()
    await deployment.assert_stored(*(name for name in NAMES if name != VICTIM))
    assert (await deployment.refresh(refresher)).status == "SUCCEEDED"
    await deployment.assert_stored(*NAMES)
    assert (await deployment.series(VICTIM))["consecutive_failures"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["error500", "html", "truncated", "reset", "slow"])
async def test_a_passing_fault_is_not_even_seen(deployment: Deployment, kind: Any) -> None:
    for fault in (Fault(kind, times=2, seconds=0.05), Fault(kind, path=CHART, seconds=0.05)):
        deployment.simulator.add_fault(fault)
    ended = await deployment.refresh(await deployment.process())
    assert (ended.status, ended.calls) == ("SUCCEEDED", (11, 11, 0))
    await deployment.assert_stored(*NAMES)


@pytest.mark.slow
async def test_nulls_are_no_prices(deployment: Deployment) -> None:
    deployment.simulator.add_fault(on_victim("nulls"))
    ended = await deployment.refresh(await deployment.process())
    assert (ended.status, ended.items[VICTIM]["status"]) == ("PARTIAL", "PARTIAL")
    assert " of 120 hours" in ended.failed[VICTIM]
    await deployment.assert_stored(*NAMES)  # the fault is still in force
    assert 50 < len(await deployment.hours(VICTIM)) < 75


@pytest.mark.slow
async def test_a_failure_keeps_what_is_there(deployment: Deployment) -> None:
    refresher = await deployment.process()
    await deployment.refresh(refresher)
    before = await deployment.hours(VICTIM), await deployment.days(VICTIM)
    for kind, failures in (("html", 1), ("truncated", 2)):
        deployment.simulator.clear_faults()
        deployment.simulator.add_fault(on_victim(kind))
        ended = await deployment.refresh(refresher)
        assert list(ended.failed) == [VICTIM]
        assert (await deployment.hours(VICTIM), await deployment.days(VICTIM)) == before
        series = await deployment.series(VICTIM)
        assert series["consecutive_failures"] == failures
        assert series["revision"] == 3


@pytest.mark.slow
async def test_no_prices_are_named_and_cost_nothing(deployment: Deployment) -> None:
    """Some coins have no price in some currencies; what is stored stays in any case."""
    refresher = await deployment.process()
    await deployment.refresh(refresher)
    before = await deployment.hours(VICTIM), await deployment.days(VICTIM)
    deployment.simulator.add_fault(on_victim("empty"))
    ended = await deployment.refresh(refresher)
    coin, currency = VICTIM.split("/")
    message = f"CoinGecko sent no newer prices of {coin} in {currency}."
    assert (ended.status, ended.failed) == ("PARTIAL", {VICTIM: message})
    assert (await deployment.hours(VICTIM), await deployment.days(VICTIM)) == before


async def test_all_series_failing_is_a_failure(deployment: Deployment) -> None:
    deployment.simulator.add_fault(Fault("html", path=CHART, times=None))
    ended = await deployment.refresh(await deployment.process())
    assert (ended.status, len(ended.failed)) == ("FAILED", 4)
    assert ended.calls == (11, 1, 10)
    assert "4 calls in a row failed, so no more were made" in ended.run["error"]


@pytest.mark.parametrize("kind", ["reset", "html"])
async def test_without_an_answer_for_any_series_names_are_not_requested(
    deployment: Deployment, kind: Any
) -> None:
    """Two failed series do not show an outage, but are enough to make no other calls."""
    deployment.simulator.add_fault(Fault(kind, path=CHART, times=None))
    refresher = await deployment.process(coins=["bitcoin"])
    ended = await deployment.refresh(refresher)
    assert (ended.status, len(ended.failed)) == ("FAILED", 2)
    # quotes, two series in hours and in days, a profile
    assert ended.calls[:2] == (6, 1)
    assert len(deployment.calls("localization")) == 0
    assert deployment.charts(daily=True) == []


class _Patchy(httpx.AsyncHTTPTransport):
    """Loses all calls for the charts of some coins; those of others wait for charts of others."""

    def __init__(self, lost: tuple[str, ...], after: dict[str, tuple[str, ...]]) -> None:
        super().__init__()
        self._lost, self._after = lost, after
        self._asked: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if CHART in request.url.path:
            coin = request.url.path.split("/")[-3]
            self._asked[coin].set()
            for other in self._after.get(coin, ()):
                await self._asked[other].wait()
            if coin in self._lost:
                raise httpx.ConnectError("")
        return await super().handle_async_request(request)


@pytest.mark.slow
async def test_an_answer_breaks_the_silence(deployment: Deployment) -> None:
    """Four are asked for at once. Two are lost, the fourth is answered, then the third is lost."""
    coins = ("bitcoin", "ethereum", "solana", "ripple", "cardano", "dogecoin", "tron")
    lost, next_ones = coins[:3], coins[4:]
    patchy = _Patchy(lost, after={"ripple": next_ones[:2], "solana": next_ones})
    refresher = await deployment.process(coins=coins, currencies=["usd"], transport=patchy)
    ended = await deployment.refresh(refresher)
    assert (ended.status, ended.run["error"]) == ("PARTIAL", None)
    assert list(ended.failed) == [f"{coin}/usd" for coin in lost]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/simple/price", "/coins/bitcoin?", "/coins/ethereum"])
async def test_quotes_and_metadata_cost_no_series_anything(
    deployment: Deployment, path: str
) -> None:
    # of a coin's two kinds of calls, those for charts pass
    coin = path.strip("/?").split("/")[-1]
    for name in ("usd", "eur"):
        deployment.simulator.add_fault(
            Fault("slow", path=CHART, currency=name, times=None, seconds=0)
        )
    fault = Fault("html", path=f"/coins/{coin}" if "coins" in path else path, times=None)
    deployment.simulator.add_fault(fault)
    ended = await deployment.refresh(await deployment.process())
    assert (ended.status, ended.failed) == ("SUCCEEDED", {})
    assert ended.calls == (11, 10, 1)
    deployment.simulator.clear_faults()
    await deployment.assert_stored(*NAMES)
    assert await deployment.sql.fetchval("SELECT count(*) FROM price_latest") == 4


async def test_refused_access_ends_the_run_at_once(deployment: Deployment) -> None:
    with run_simulator(SimulatorOptions(api_key="k", plan="demo")) as locked:
        refresher = await deployment.process(base_url=locked.base_url)
        ended = await deployment.refresh(refresher)
        assert len(locked.requests) == 1
    assert ended.status == "FAILED"
    assert ended.run["error"].startswith("CoinGecko asks for an API key: set COINGECKO_API_KEY")
    assert ended.failed == dict.fromkeys(NAMES, ended.run["error"])
    assert ended.calls == (11, 0, 11)
    await deployment.lock_becomes_free()


@pytest.mark.slow
async def test_access_refused_in_the_middle_keeps_what_came_before(deployment: Deployment) -> None:
    deployment.simulator.add_fault(
        Fault("error500", status=401, path=CHART, currency="eur", times=None)
    )
    refresher = await deployment.process()
    ended = await deployment.refresh(refresher)
    assert ended.status == "FAILED"
    assert "COINGECKO_API_KEY" in ended.run["error"]
    assert set(ended.failed) >= {"bitcoin/eur", "ethereum/eur"}
    assert ended.calls[0] == ended.calls[1] + ended.calls[2]
    for name, item in ended.items.items():
        assert bool(await deployment.hours(name)) == (item["status"] == "SUCCEEDED")
    deployment.simulator.clear_faults()
    assert (await deployment.refresh(refresher)).status == "SUCCEEDED"
    await deployment.assert_stored(*NAMES)


@pytest.mark.slow
async def test_too_many_calls_are_waited_out(deployment: Deployment) -> None:
    deployment.simulator.add_fault(Fault("rate_limited", path=CHART, times=3, seconds=1))
    ended = await deployment.refresh(await deployment.process())
    assert (ended.status, ended.calls) == ("SUCCEEDED", (11, 11, 0))
    assert (ended.run["finished_at"] - ended.run["started_at"]).total_seconds() > 0.9
    await deployment.assert_stored(*NAMES)


@pytest.mark.slow
async def test_a_bug_in_one_series_stops_no_other(deployment: Deployment) -> None:
    refresher = await deployment.process()
    series = (await deployment.series(VICTIM))["id"]
    await deployment.sql.execute(f"""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'a bug'; END $$;
        CREATE TRIGGER bug BEFORE INSERT ON price_hourly
            FOR EACH ROW WHEN (NEW.series_id = {series}) EXECUTE FUNCTION fail()
    """)
    with capture_logs() as logs:
        ended = await deployment.refresh(refresher)
    assert ended.status == "PARTIAL"
    assert ended.failed == {VICTIM: "Internal error; see the server's log."}
    assert ended.calls == (11, 9, 2)
    (logged,) = [line for line in logs if line["log_level"] == "error"]
    assert logged["exc_info"]
    await deployment.assert_stored(*(name for name in NAMES if name != VICTIM))
