"""refreshPrices as a scheduler calls it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from simulator import Fault, Simulator
from tests.serving import PATIENCE, TOKEN, LiveServer, Reader, live_server, make_settings

REFRESH = """
    mutation ($input: RefreshPricesInput) {
      refreshPrices(input: $input) {
        started run { id status trigger startedAt finishedAt plannedCalls completedCalls failedCalls
          rowsInserted rowsCorrected duplicatesDropped estimatedSecondsLeft error
          items { coin currency status reason calls rowsInserted error } }
      }
    }
"""
RUN = """
    query ($id: ID!) { refreshRun(id: $id) {
      id status finishedAt estimatedSecondsLeft error
      items { coin currency status }
      pending: items(status: PENDING) { coin }
      failed: items(status: FAILED) { coin currency error }
      all: items(status: null) { coin }
    } }
"""


async def refresh(server: LiveServer, **given: Any) -> dict[str, Any]:
    payload: dict[str, Any] = (await server.data(REFRESH, token=TOKEN, input=given))[
        "refreshPrices"
    ]
    return payload


async def ended(server: LiveServer, run_id: str) -> dict[str, Any]:
    """Poll a run until it ends, as a scheduler does."""
    async with asyncio.timeout(PATIENCE):
        while True:
            run: dict[str, Any] = (await server.data(RUN, id=run_id))["refreshRun"]
            if run["status"] != "RUNNING":
                return run
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def slow_server(database_url: str, simulator: Simulator) -> AsyncIterator[LiveServer]:
    """A server whose first refresh is done, and whose next ends when the faults are cleared."""
    async with live_server(make_settings(database_url, simulator)) as server:
        await refresh(server, wait=True)
        simulator.add_fault(Fault("slow", path="/market_chart", times=None, seconds=60))
        yield server


@pytest.mark.slow
async def test_it_responds_while_the_run_is_in_progress(
    database_url: str, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    async with slow_server(database_url, simulator) as server:
        first = await refresh(server)
        run = first["run"]
        assert (first["started"], run["status"], run["trigger"]) == (True, "RUNNING", "MUTATION")
        assert run["plannedCalls"] == 5  # the newest prices, and each series
        assert run["estimatedSecondsLeft"] >= 0
        assert run["finishedAt"] is None
        started_at = datetime.fromisoformat(run["startedAt"])
        assert timedelta(0) <= datetime.now(UTC) - started_at < timedelta(minutes=2)

        second = await refresh(server, coins=["bitcoin"], days=3)
        assert (second["started"], second["run"]["id"]) == (False, run["id"])
        looked_at = (await server.data(RUN, id=run["id"]))["refreshRun"]
        assert looked_at["status"] == "RUNNING"
        assert len(looked_at["pending"]) == len(looked_at["items"]) == 4
        simulator.clear_faults()
        waited = await refresh(server, wait=True)
        assert (waited["started"], waited["run"]["id"]) == (False, run["id"])
        assert waited["run"]["status"] == "SUCCEEDED"
        assert waited["run"]["estimatedSecondsLeft"] is None
        assert (waited["run"]["completedCalls"], waited["run"]["failedCalls"]) == (5, 0)
        assert {item["status"] for item in waited["run"]["items"]} == {"SUCCEEDED"}
        done = await ended(server, run["id"])
        assert (done["pending"], len(done["all"])) == ([], 4)
        fourth = await refresh(server)
        assert fourth["started"] is True
        assert fourth["run"]["id"] > run["id"], "ids sort by time"
        await ended(server, fourth["run"]["id"])
    # the first refresh of the empty database (joined by wait), the slow one, the fourth
    assert await sql.fetchval("SELECT count(*) FROM refresh_run") == 3


@pytest.mark.slow
async def test_thirty_requests_with_one_key_are_one_run(
    database_url: str, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    async with slow_server(database_url, simulator) as server:
        before = await sql.fetchval("SELECT count(*) FROM refresh_run")
        key = "2026-01-31T14 ☂ " + "x" * 180
        answers = await asyncio.gather(*(refresh(server, idempotencyKey=key) for _ in range(30)))
        runs = {answer["run"]["id"] for answer in answers}
        assert len(runs) == 1
        assert [answer["started"] for answer in answers].count(True) == 1
        simulator.clear_faults()
        await ended(server, *runs)
        later = await refresh(server, idempotencyKey=key, rebuild=True, wait=True)
        assert (later["started"], later["run"]["id"]) == (False, *runs)
        assert await sql.fetchval("SELECT count(*) FROM refresh_run") == before + 1
        other = await refresh(server, idempotencyKey=key[:-1], wait=True)
        assert other["started"] is True


@pytest.mark.slow
async def test_a_key_that_joined_a_run_stays_with_it(
    database_url: str, simulator: Simulator
) -> None:
    async with slow_server(database_url, simulator) as server:
        running = await refresh(server)
        joined = await refresh(server, idempotencyKey="mine")
        assert (joined["started"], joined["run"]["id"]) == (False, running["run"]["id"])
        simulator.clear_faults()
        await ended(server, running["run"]["id"])
        again = await refresh(server, idempotencyKey="mine", wait=True)
        assert (again["started"], again["run"]["id"]) == (False, running["run"]["id"])


@pytest.mark.slow
async def test_only_the_requested_series_are_refreshed(
    server: LiveServer, shared_simulator: Simulator
) -> None:
    seen = len(shared_simulator.requests)
    payload = await refresh(
        server, coins=["Ethereum", "ethereum"], currencies=["EUR"], days=3, wait=True
    )
    (item,) = payload["run"]["items"]
    assert (item["coin"], item["currency"], item["reason"]) == ("ethereum", "eur", "REQUESTED")
    asked = [request.target for request in shared_simulator.requests[seen:]]
    charts = [target for target in asked if "market_chart" in target]
    assert len(charts) == 1
    assert charts[0].startswith("/api/v3/coins/ethereum/market_chart/range?")
    assert "vs_currency=eur" in charts[0]


@pytest.mark.slow
async def test_a_failed_series_is_reported(
    database_url: str, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    async with live_server(make_settings(database_url, simulator)) as server:
        await refresh(server, wait=True)
        before = await sql.fetchval("SELECT count(*) FROM price_hourly")
        simulator.add_fault(Fault("empty", path="/market_chart", currency="eur", times=None))
        payload = await refresh(server, rebuild=True, wait=True, coins=["bitcoin"])
        run = payload["run"]
        assert run["status"] == "PARTIAL"
        final = await ended(server, run["id"])
        assert [(item["coin"], item["currency"]) for item in final["failed"]] == [
            ("bitcoin", "eur")
        ]
        assert "sent no prices" in final["failed"][0]["error"]
        assert await sql.fetchval("SELECT count(*) FROM price_hourly") == before
        status = await server.data(
            """{ seriesStatus(coins: ["bitcoin"], currencies: ["eur"]) {
            stale lastError consecutiveFailures } }"""
        )
        assert status["seriesStatus"] == [
            {"stale": False, "lastError": final["failed"][0]["error"], "consecutiveFailures": 1}
        ]


@pytest.mark.slow
async def test_pages_of_runs(server: LiveServer, sql: asyncpg.Connection) -> None:
    for _ in range(4):
        await refresh(server, coins=["bitcoin"], currencies=["usd"], wait=True)
    rows = await sql.fetch("SELECT id::text FROM refresh_run ORDER BY id DESC")
    expected = [row["id"] for row in rows]
    assert len(expected) >= 5
    query = """query ($first: Int!, $after: String) { refreshRuns(first: $first, after: $after) {
      totalCount nodes { id startedAt } edges { node { id } cursor }
      pageInfo { hasNextPage endCursor } } }"""
    for first in (1, 2, 3, 50):
        seen: list[str] = []
        after = None
        while True:
            page = (await server.data(query, first=first, after=after))["refreshRuns"]
            assert page["totalCount"] == len(expected)
            assert page["nodes"], "no page is empty"
            seen += [node["id"] for node in page["nodes"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert seen == expected


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({"days": 0}, "BAD_USER_INPUT", "`days` must be between 1 and 3,650"),
        ({"days": -1}, "BAD_USER_INPUT", "`days` must be between"),
        ({"days": 3651}, "BAD_USER_INPUT", "not 3,651"),
        ({"days": 2**31}, "BAD_USER_INPUT", "32-bit"),
        ({"days": "7"}, "BAD_USER_INPUT", "$input"),
        ({"coins": []}, "BAD_USER_INPUT", "empty list"),
        ({"currencies": []}, "BAD_USER_INPUT", "empty list"),
        (
            {"coins": ["bitcoin", "monero"]},
            "NOT_FOUND",
            "'monero' is not tracked: add it to COINS",
        ),
        (
            {"currencies": ["usd", "xyz"]},
            "NOT_FOUND",
            "'xyz' is not tracked: add it to CURR",
        ),
        ({"coins": ["x" * 10_000]}, "NOT_FOUND", "…"),
        ({"coins": ["bit\0coin"]}, "NOT_FOUND", "coin"),
        ({"coins": [None]}, "BAD_USER_INPUT", "$input"),
        ({"idempotencyKey": ""}, "BAD_USER_INPUT", "1 to 200 characters"),
        ({"idempotencyKey": "x" * 201}, "BAD_USER_INPUT", "1 to 200 characters"),
        ({"idempotencyKey": "a\0b"}, "BAD_USER_INPUT", "idempotencyKey"),
        ({"rebuild": "yes"}, "BAD_USER_INPUT", "$input"),
        ({"nope": 1}, "BAD_USER_INPUT", "nope"),
    ],
)
async def test_bad_input_starts_nothing(
    reader: Reader, given: dict[str, Any], code: str, words: str
) -> None:
    count = "SELECT count(*) FROM refresh_run"
    before = await reader.sql.fetchval(count)
    status, found_code, message = await reader.error(REFRESH, token=TOKEN, input=given)
    assert (status, found_code) == (404 if code == "NOT_FOUND" else 400, code)
    assert words in message
    assert len(message) < 300
    assert await reader.sql.fetchval(count) == before


@pytest.mark.slow
async def test_input_may_be_null(server: LiveServer) -> None:
    nothing = {"coins": None, "currencies": None, "days": None, "idempotencyKey": None}
    for given in (None, nothing, {}):
        payload = (await server.data(REFRESH, token=TOKEN, input=given))["refreshPrices"]
        run = await ended(server, payload["run"]["id"])
        assert (run["status"], len(run["items"])) == ("SUCCEEDED", 4)
