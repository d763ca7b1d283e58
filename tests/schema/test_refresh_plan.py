"""refreshPlan predicts what a refresh then does, counted by the upstream."""

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
    """A server whose first refresh is done, with an upstream of its own."""
    async with live_server(make_settings(database_url, simulator)) as live:
        yield live


async def plan(server: LiveServer, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await server.data(PLAN, input=given))["refreshPlan"]
    return found


def seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def charts(calls: list[str]) -> dict[tuple[str, str, bool], list[int]]:
    """Return the start of each request for hours and for days, by series."""
    asked: dict[tuple[str, str, bool], list[int]] = {}
    for target in calls:
        parts = urlsplit(target)
        if parts.path.endswith("/market_chart/range"):
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            daily = int(query["to"]) - int(query["from"]) > 90 * 24 * HOUR
            key = parts.path.split("/")[-3], query["vs_currency"], daily
            asked.setdefault(key, []).append(int(query["from"]))
    return asked


def planned_charts(predicted: dict[str, Any]) -> dict[tuple[str, str, bool], list[int]]:
    found: dict[tuple[str, str, bool], list[int]] = {}
    for series in predicted["series"]:
        key = series["coin"], series["currency"]
        found[(*key, False)] = [math.floor(seconds(each["from"])) for each in series["windows"]]
        if series["daily"]:
            found[(*key, True)] = [math.floor(seconds(series["daily"]["from"]))]
    return found


async def assert_plan_is_followed(
    server: LiveServer, simulator: Simulator, **given: Any
) -> dict[str, Any]:
    """Plan, then refresh: the calls must be those that were planned."""
    before = len(simulator.requests)
    predicted = await plan(server, **given)
    assert len(simulator.requests) == before
    ran = (await server.data(REFRESH, token=TOKEN, input={**given, "wait": True}))["refreshPrices"]
    calls = [each.target for each in simulator.requests[before:]]
    assert ran["run"]["status"] == "SUCCEEDED"
    assert len(calls) == predicted["calls"] == ran["run"]["plannedCalls"]
    assert [each["reason"] for each in predicted["series"]] == [
        each["reason"] for each in ran["run"]["items"]
    ]
    made, planned = charts(calls), planned_charts(predicted)
    assert made.keys() == planned.keys()
    for key, starts in planned.items():  # an hour may have begun between the two
        assert all(0 <= b - a <= HOUR for a, b in zip(starts, made[key], strict=True)), key
    assert sum("/simple/price" in each for each in calls) == predicted["quoteCalls"]
    others = sum("localization=false" in each for each in calls)
    assert others == predicted["metadataCalls"]
    assert sum(each["calls"] for each in predicted["series"]) == sum(map(len, made.values()))
    return predicted


@pytest.mark.slow
async def test_a_routine_refresh_follows_its_plan(
    own_server: LiveServer, simulator: Simulator
) -> None:
    predicted = await assert_plan_is_followed(own_server, simulator)
    assert predicted["calls"] == 5
    assert [(each["coin"], each["currency"], each["reason"]) for each in predicted["series"]] == [
        ("bitcoin", "usd", "ROUTINE"),
        ("ethereum", "usd", "ROUTINE"),
        ("bitcoin", "eur", "ROUTINE"),
        ("ethereum", "eur", "ROUTINE"),
    ]
    assert (predicted["fits"], predicted["refusal"], predicted["credits"]["budget"]) == (
        True,
        None,
        None,
    )


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
async def test_requested_work_is_in_the_plan(
    own_server: LiveServer, simulator: Simulator, given: dict[str, Any]
) -> None:
    predicted = await assert_plan_is_followed(own_server, simulator, **given)
    wanted = "REBUILD" if "rebuild" in given else "REQUESTED" if "days" in given else "ROUTINE"
    assert {each["reason"] for each in predicted["series"]} == {wanted}


@pytest.mark.slow
async def test_gaps_and_old_metadata_are_in_the_plan(
    own_server: LiveServer, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    await sql.execute(
        "DELETE FROM price_hourly WHERE bucket < now() - interval '70 hours' AND series_id = "
        "(SELECT id FROM series WHERE coin_id = 'bitcoin' AND currency_code = 'eur')"
    )
    await sql.execute("UPDATE coin_metadata SET updated_at = now() - interval '40 days'")
    predicted = await assert_plan_is_followed(own_server, simulator)
    reasons = {f"{each['coin']}/{each['currency']}": each["reason"] for each in predicted["series"]}
    assert reasons["bitcoin/eur"] == "GAP"
    assert reasons["bitcoin/usd"] == "ROUTINE"
    assert predicted["metadataCalls"] == 2


@pytest.mark.slow
async def test_credits_are_those_that_were_answered(
    own_server: LiveServer, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    before = (await plan(own_server))["credits"]["spent"]
    await own_server.data(
        "mutation { refreshPrices(input: {wait: true}) { run { status } } }", token=TOKEN
    )
    answered = Counter(each.status for each in simulator.requests)[200]
    predicted = await plan(own_server)
    assert predicted["credits"]["spent"] == before + answered
    assert answered > 0
    now = datetime.now(UTC)
    resets_at = datetime.fromisoformat(predicted["credits"]["resetsAt"])
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
    predicted = await plan(own_server)
    assert predicted["secondsPerCall"] == pytest.approx(4 * usual["secondsPerCall"])
    assert (
        500
        < predicted["estimatedSeconds"]
        <= 600 + predicted["calls"] * predicted["secondsPerCall"]
    )


@pytest.mark.slow
async def test_a_refresh_over_budget_is_rejected_and_costs_nothing(
    database_url: str, simulator: Simulator
) -> None:
    # a first load takes 1 + 4 × 2 (hours, days) + 2 (metadata)
    settings = make_settings(database_url, simulator, coingecko_monthly_credits=10)
    async with live_server(settings) as server:
        predicted = await plan(server)
        assert (predicted["calls"], predicted["fits"]) == (11, False)
        assert {each["reason"] for each in predicted["series"]} == {"FIRST_LOAD"}
        assert predicted["credits"]["leftAfter"] == -1
        assert predicted["refusal"].startswith("This refresh needs 11 calls, but 10 of 10 credits")
        assert "What would fit: days 88 of all 4 series (7 calls) or coins" in predicted["refusal"]
        response = await server.post(REFRESH, token=TOKEN, input={})
        [error] = response.json()["errors"]
        assert (response.status_code, error["extensions"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert error["message"] == predicted["refusal"]
        wait = seconds(predicted["credits"]["resetsAt"]) - datetime.now(UTC).timestamp()
        assert 0 <= int(response.headers["Retry-After"]) - wait <= 30
        assert simulator.requests == []
        assert (await server.data("{ refreshRuns { totalCount } }"))["refreshRuns"] == {
            "totalCount": 0
        }
        fitting = {"days": 88, "wait": True}
        assert (await server.data(REFRESH, token=TOKEN, input=fitting))["refreshPrices"]["started"]
        assert (await plan(server))["credits"]["spent"] == 7 == len(simulator.requests)


async def test_joining_a_run_is_allowed_over_budget(
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
async def test_a_plan_with_invalid_input_is_rejected(
    reader: LiveServer, given: dict[str, Any], code: str
) -> None:
    _, predicted, message = await reader.error(PLAN, input=given)
    assert predicted == code
    assert message


async def test_a_plan_requires_read_permission(database_url: str, simulator: Simulator) -> None:
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
