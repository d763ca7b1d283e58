"""HTTP statuses for a scheduler: 200, 401, or 503 with Retry-After. One key gives one run."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from simulator import Fault, Simulator
from tests.server.proxy import proxy_to
from tests.server.server_process import served
from tests.serving import TOKEN, LiveServer, live_server, make_settings

REFRESH = """mutation ($input: RefreshPricesInput) {
  refreshPrices(input: $input) { started run { id status } }
}"""


def code_of(response: httpx.Response) -> str:
    (error,) = response.json()["errors"]
    code: str = error["extensions"]["code"]
    return code


def refused(response: httpx.Response) -> int:
    """Check a 503; return its Retry-After in seconds."""
    assert response.status_code == 503, response.text
    assert code_of(response) == "SERVICE_UNAVAILABLE"
    return int(response.headers["retry-after"])


async def fire(server: LiveServer, **given: Any) -> httpx.Response:
    return await server.post(REFRESH, token=TOKEN, input=given)


def payload(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["data"]["refreshPrices"]


@pytest.mark.slow
async def test_started_joined_or_busy(database_url: str, simulator: Simulator) -> None:
    async with live_server(make_settings(database_url, simulator)) as server:
        payload(await fire(server, wait=True))
        simulator.add_fault(Fault("slow", path="/market_chart", times=None, seconds=60))
        first = payload(await fire(server, coins=["bitcoin"]))
        assert (first["started"], first["run"]["status"]) == (True, "RUNNING")
        joined = payload(await fire(server, coins=["bitcoin"], currencies=["eur"]))
        assert joined == {"started": False, "run": first["run"]}
        busy = await fire(server, coins=["ethereum"], idempotencyKey="mine")
        seconds = refused(busy)
        assert 1 <= seconds <= 60
        (error,) = busy.json()["errors"]
        assert error["extensions"]["retryAfterSeconds"] == seconds
        assert first["run"]["id"] in error["message"]
        simulator.clear_faults()
        payload(await fire(server, coins=["bitcoin"], wait=True))
        again = payload(await fire(server, coins=["ethereum"], idempotencyKey="mine", wait=True))
        assert (again["started"], again["run"]["status"]) == (True, "SUCCEEDED")


async def bad_tokens(server: LiveServer) -> None:
    for token in (None, "wrong", TOKEN + "x", TOKEN[:-1]):
        answer = await server.post(REFRESH, token=token)
        assert (answer.status_code, code_of(answer)) == (401, "UNAUTHENTICATED")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.slow
async def test_a_bad_token_is_rejected_in_any_state_of_the_database(
    database_url: str, shared_simulator: Simulator
) -> None:
    async with (
        proxy_to(database_url) as proxy,
        live_server(make_settings(proxy.url, shared_simulator)) as server,
    ):
        await bad_tokens(server)
        await proxy.cut()  # once it was ready
        await bad_tokens(server)
        assert refused(await fire(server)) >= 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"postgresql://u:secret@127.0.0.1:{taken.getsockname()[1]}/db"
        settings = make_settings(url, shared_simulator, read_tokens="reader")
        async with live_server(settings, ready=False) as server:  # before it was ever ready
            await bad_tokens(server)
            assert refused(await fire(server)) >= 1
            reading = await server.post(REFRESH, token="reader")  # noqa: S106 - of this test
            assert (reading.status_code, code_of(reading)) == (403, "FORBIDDEN")
            named = "query Q { currencies { code } } mutation M { refreshPrices { started } }"
            for name, status in (("Q", 503), ("M", 403)):
                answer = await server.http.post(
                    "/graphql",
                    json={"query": named, "operationName": name},
                    headers={"Authorization": "Bearer reader"},
                )
                assert answer.status_code == status


async def test_without_the_token_setting(database_url: str, shared_simulator: Simulator) -> None:
    settings = make_settings(database_url, shared_simulator, refresh_tokens="")
    async with live_server(settings) as server:
        answer = await fire(server)
        assert refused(answer) >= 1
        assert "REFRESH_TOKENS" in answer.text


@pytest.mark.slow
async def test_a_hundred_at_once_with_one_key(
    database_url: str, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    """One run, and the same response for all."""
    settings = make_settings(database_url, simulator)
    async with live_server(settings) as here, live_server(settings) as there:
        payload(await fire(here, wait=True))
        for key, servers in (("one", [here]), ("two", [here, there])):
            before = await sql.fetchval("SELECT count(*) FROM refresh_run")
            simulator.add_fault(Fault("slow", path="/market_chart", times=None, seconds=60))
            answers = await asyncio.gather(
                *(fire(servers[number % len(servers)], idempotencyKey=key) for number in range(100))
            )
            shown = [payload(answer) for answer in answers]
            assert len({each["run"]["id"] for each in shown}) == 1
            assert Counter(each["started"] for each in shown) == {True: 1, False: 99}
            assert await sql.fetchval("SELECT count(*) FROM refresh_run") == before + 1
            simulator.clear_faults()
            payload(await fire(here, idempotencyKey=key, wait=True))
        assert await sql.fetchval("SELECT count(*) FROM refresh_run_key") == 2


@pytest.fixture
def workers_upstream(simulator: Simulator) -> Iterator[Simulator]:
    simulator.add_fault(Fault("slow", path="/market_chart", times=None, seconds=0.1))
    yield simulator
    simulator.clear_faults()


@pytest.mark.endurance
@pytest.mark.processes
def test_a_hundred_at_once_with_one_key_at_two_workers(
    empty_url: str, workers_upstream: Simulator, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": empty_url, "COINGECKO_BASE_URL": workers_upstream.base_url}
    with served(tmp_path, "--workers", "2", **settings) as server:
        server.await_workers(2)
        server.await_line("refresh ended")

        def ask(_: int) -> httpx.Response:
            body = {"query": REFRESH, "variables": {"input": {"idempotencyKey": "k"}}}
            headers = {"Authorization": f"Bearer {TOKEN}"}
            with server.client() as client:
                return client.post("/graphql", json=body, headers=headers)

        with ThreadPoolExecutor(100) as threads:
            shown = [payload(answer) for answer in threads.map(ask, range(100))]
        assert len({each["run"]["id"] for each in shown}) == 1
        assert Counter(each["started"] for each in shown) == {True: 1, False: 99}
        workers = {line["worker"] for line in server.lines("request")}
        assert len(workers) == 2, "both were asked"
        server.process.terminate()
        assert server.process.wait(60) == 0
