"""refreshPlan: what it tells is what a refresh then does, counted by the upstream it asks."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from ingestion.planning.estimate import Estimate
from ingestion.planning.plan import RefreshRequest
from simulator import Simulator
from tests.serving import TOKEN, LiveServer, live_server, make_settings

PLAN = """
    query ($input: RefreshPricesInput) { refreshPlan(input: $input) {
      calls quoteCalls metadataCalls secondsPerCall estimatedSeconds fits refusal
      series { coin currency reason calls windows { from to } daily { from to } }
      credits { spent budget leftAfter resetsAt }
    } }
"""
REFRESH = """
    mutation ($input: RefreshPricesInput) { refreshPrices(input: $input) {
      started run { status plannedCalls completedCalls failedCalls items { reason } }
    } }
"""
HOUR = 3600


@pytest.fixture
async def own_server(
    refreshed: object, database_url: str, simulator: Simulator
) -> AsyncIterator[LiveServer]:
    """A server whose first refresh is done, and an upstream that nobody else calls."""
    async with live_server(make_settings(database_url, simulator)) as live:
        yield live


async def plan(server: LiveServer, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await server.data(PLAN, input=given))["refreshPlan"]
    return found


def seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def charts(calls: list[str]) -> dict[tuple[str, str, bool], list[int]]:
    """From when on each series' hours, and days, were asked for."""
    asked: dict[tuple[str, str, bool], list[int]] = {}
    for target in calls:
        parts = urlsplit(target)
        if parts.path.endswith("/market_chart/range"):
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            daily = int(query["to"]) - int(query["from"]) > 90 * 24 * HOUR
            key = parts.path.split("/")[-3], query["vs_currency"], daily
            asked.setdefault(key, []).append(int(query["from"]))
    return asked


def planned_charts(told: dict[str, Any]) -> dict[tuple[str, str, bool], list[int]]:
    found: dict[tuple[str, str, bool], list[int]] = {}
    for series in told["series"]:
        key = series["coin"], series["currency"]
        found[(*key, False)] = [math.floor(seconds(each["from"])) for each in series["windows"]]
        if series["daily"]:
            found[(*key, True)] = [math.floor(seconds(series["daily"]["from"]))]
    return found


async def assert_kept(server: LiveServer, simulator: Simulator, **given: Any) -> dict[str, Any]:
    """Plan, then refresh: the calls that were made are those that were planned."""
    before = len(simulator.requests)
    told = await plan(server, **given)
    assert len(simulator.requests) == before
    ran = (await server.data(REFRESH, token=TOKEN, input={**given, "wait": True}))["refreshPrices"]
    calls = [each.target for each in simulator.requests[before:]]
    assert ran["run"]["status"] == "SUCCEEDED"
    assert len(calls) == told["calls"] == ran["run"]["plannedCalls"]
    assert [each["reason"] for each in told["series"]] == [
        each["reason"] for each in ran["run"]["items"]
    ]
    made, planned = charts(calls), planned_charts(told)
    assert made.keys() == planned.keys()
    for key, starts in planned.items():  # an hour may have begun between the two
        assert all(0 <= b - a <= HOUR for a, b in zip(starts, made[key], strict=True)), key
    assert sum("/simple/price" in each for each in calls) == told["quoteCalls"]
    others = sum("localization=false" in each for each in calls)
    assert others == told["metadataCalls"]
    assert sum(each["calls"] for each in told["series"]) == sum(map(len, made.values()))
    return told


@pytest.mark.slow
async def test_a_routine_refresh_keeps_to_its_plan(
    own_server: LiveServer, simulator: Simulator
) -> None:
    told = await assert_kept(own_server, simulator)
    assert told["calls"] == 5
    assert [(each["coin"], each["currency"], each["reason"]) for each in told["series"]] == [
        ("bitcoin", "usd", "ROUTINE"),
        ("ethereum", "usd", "ROUTINE"),
        ("bitcoin", "eur", "ROUTINE"),
        ("ethereum", "eur", "ROUTINE"),
    ]
    assert (told["fits"], told["refusal"], told["credits"]["budget"]) == (True, None, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        {"days": 3},
        {"days": 120},
        {"rebuild": True},
        {"rebuild": True, "days": 200, "coins": ["bitcoin"]},
        {"coins": ["ethereum"], "currencies": ["eur"]},
    ],
)
async def test_what_is_asked_for_is_in_the_plan(
    own_server: LiveServer, simulator: Simulator, given: dict[str, Any]
) -> None:
    told = await assert_kept(own_server, simulator, **given)
    wanted = "REBUILD" if "rebuild" in given else "REQUESTED" if "days" in given else "ROUTINE"
    assert {each["reason"] for each in told["series"]} == {wanted}


@pytest.mark.slow
async def test_holes_and_old_metadata_are_in_the_plan(
    own_server: LiveServer, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    await sql.execute(
        "DELETE FROM price_hourly WHERE bucket < now() - interval '70 hours' AND series_id = "
        "(SELECT id FROM series WHERE coin_id = 'bitcoin' AND currency_code = 'eur')"
    )
    await sql.execute("UPDATE coin_metadata SET updated_at = now() - interval '40 days'")
    told = await assert_kept(own_server, simulator)
    reasons = {f"{each['coin']}/{each['currency']}": each["reason"] for each in told["series"]}
    assert reasons["bitcoin/eur"] == "GAP"
    assert reasons["bitcoin/usd"] == "ROUTINE"
    assert told["metadataCalls"] == 2


@pytest.mark.slow
async def test_credits_are_those_that_were_answered(
    own_server: LiveServer, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    before = (await plan(own_server))["credits"]["spent"]
    await own_server.data(
        "mutation { refreshPrices(input: {wait: true}) { run { status } } }", token=TOKEN
    )
    answered = Counter(each.status for each in simulator.requests)[200]
    told = await plan(own_server)
    assert told["credits"]["spent"] == before + answered
    assert answered > 0
    now = datetime.now(UTC)
    resets_at = datetime.fromisoformat(told["credits"]["resetsAt"])
    assert resets_at.day == 1
    assert timedelta(0) < resets_at - now <= timedelta(days=31)
    await sql.execute("UPDATE upstream_credits SET month = month - interval '1 month'")
    assert (await plan(own_server))["credits"]["spent"] == 0


async def test_a_pause_and_a_slower_pace_are_in_the_estimate(
    own_server: LiveServer, sql: asyncpg.Connection
) -> None:
    usual = await plan(own_server)
    assert usual["secondsPerCall"] == pytest.approx(60 / 600_000 * 1.02)
    await sql.execute(
        "UPDATE upstream_pace SET stretch = 4, paused_until = now() + interval '10 minutes'"
    )
    told = await plan(own_server)
    assert told["secondsPerCall"] == pytest.approx(4 * usual["secondsPerCall"])
    assert 500 < told["estimatedSeconds"] <= 600 + told["calls"] * told["secondsPerCall"]


@pytest.mark.slow
async def test_a_refresh_past_the_budget_is_refused_and_costs_nothing(
    database_url: str, simulator: Simulator
) -> None:
    # a first load takes 1 + 4 × 2 (hours, days) + 2 (metadata)
    settings = make_settings(database_url, simulator, coingecko_monthly_credits=10)
    async with live_server(settings) as server:
        told = await plan(server)
        assert (told["calls"], told["fits"]) == (11, False)
        assert {each["reason"] for each in told["series"]} == {"FIRST_LOAD"}
        assert told["credits"]["leftAfter"] == -1
        assert told["refusal"].startswith("This refresh needs 11 calls, but 10 of 10 credits")
        assert "What would fit: days 88 of all 4 series (7 calls) or coins" in told["refusal"]
        response = await server.post(REFRESH, token=TOKEN, input={})
        [error] = response.json()["errors"]
        assert (response.status_code, error["extensions"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert error["message"] == told["refusal"]
        wait = seconds(told["credits"]["resetsAt"]) - datetime.now(UTC).timestamp()
        assert 0 <= int(response.headers["Retry-After"]) - wait <= 30
        assert simulator.requests == []
        assert (await server.data("{ refreshRuns { totalCount } }"))["refreshRuns"] == {
            "totalCount": 0
        }
        fitting = {"days": 88, "wait": True}
        assert (await server.data(REFRESH, token=TOKEN, input=fitting))["refreshPrices"]["started"]
        assert (await plan(server))["credits"]["spent"] == 7 == len(simulator.requests)


async def test_joining_a_run_costs_nothing_so_it_is_not_refused(
    database_url: str, simulator: Simulator
) -> None:
    settings = make_settings(
        database_url, simulator, coingecko_monthly_credits=11, coingecko_requests_per_minute=300
    )
    async with live_server(settings) as server:  # its first load takes 11 calls
        joined = await asyncio.gather(*(server.data(REFRESH, token=TOKEN) for _ in range(5)))
        assert {each["refreshPrices"]["started"] for each in joined} == {False}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"coins": ["nosuchcoin"]}, "NOT_FOUND"),
        ({"days": 0}, "BAD_USER_INPUT"),
        ({"coins": []}, "BAD_USER_INPUT"),
        ({"currencies": ["xxx"]}, "NOT_FOUND"),
    ],
)
async def test_a_plan_for_what_cannot_be_is_refused(
    reader: LiveServer, given: dict[str, Any], code: str
) -> None:
    _, told, message = await reader.error(PLAN, input=given)
    assert told == code
    assert message


async def test_a_plan_wants_the_right_to_read(database_url: str, simulator: Simulator) -> None:
    settings = make_settings(database_url, simulator, read_tokens="reader")
    async with live_server(settings) as server:
        assert (await server.post(PLAN)).status_code == 401
        assert (await server.post(PLAN, token="reader")).status_code == 200  # noqa: S106 - a test's


async def test_an_operation_makes_each_plan_once(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresher = server.application.refresher
    made: list[RefreshRequest] = []
    estimate = refresher.estimate

    async def counted(request: RefreshRequest) -> Estimate:
        made.append(request)
        return await estimate(request)

    monkeypatch.setattr(refresher, "estimate", counted)
    same = " ".join(f"a{number}: refreshPlan {{ calls }}" for number in range(20))
    answer = await server.data(f"{{ {same} b: refreshPlan(input: {{days: 1}}) {{ calls }} }}")
    assert [request.days for request in made] == [None, 1]
    assert len({answer[f"a{number}"]["calls"] for number in range(20)}) == 1
