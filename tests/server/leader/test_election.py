"""One leader among several real servers on one database: it polls, is killed, stops."""

import asyncio
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulator import Fault, Simulator, SimulatorOptions, run_simulator
from tests.server.postgres_processes import eventually
from tests.server.server_process import START_SECONDS, Served, served
from tests.serving import PATIENCE, TOKEN, connected

pytestmark = pytest.mark.processes

LEADS = "leading the deployment"
LATEST = '{ latestPrices(coins: ["bitcoin"], currencies: ["usd"]) { price observedAt } }'


class Upstream:
    """A simulator whose newest prices a test can advance by a minute."""

    def __init__(self) -> None:
        self.shift = 0.0

    def clock(self) -> float:
        return time.time() + self.shift

    @contextmanager
    def running(self) -> Iterator[Simulator]:
        with run_simulator(SimulatorOptions(clock=self.clock)) as simulator:
            yield simulator


@contextmanager
def servers(folder: Path, names: str, url: str, simulator: Simulator, **more: str) -> Iterator[Any]:
    """A function that starts servers on one database, each in a folder named by a letter."""

    with ExitStack() as stack:

        def start(name: str) -> Served:
            (folder / name).mkdir()
            settings = {
                "DATABASE_URL": url,
                "COINGECKO_BASE_URL": simulator.base_url,
                "LOG_LEVEL": "debug",
            }
            return stack.enter_context(served(folder / name, **settings, **more))

        yield [start(name) for name in names] if names else start


def values(url: str, query: str, *arguments: object) -> list[Any]:
    async def ask() -> list[Any]:
        async with connected(url) as connection:
            return [row[0] for row in await connection.fetch(query, *arguments)]

    return asyncio.run(ask())


def graphql(server: Served, query: str, token: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with server.client() as client:
        return client.post("/graphql", json={"query": query}, headers=headers).json()["data"]


def quoted(simulator: Simulator) -> float:
    """Return upstream's current price without our client."""
    address = f"{simulator.base_url}/simple/price?ids=bitcoin&vs_currencies=usd&precision=full"
    return float(httpx.get(address, timeout=PATIENCE).json()["bitcoin"]["usd"])


def shown(server: Served) -> float | None:
    latest = graphql(server, LATEST)["latestPrices"]
    return latest[0]["price"] if latest else None


def await_leader(candidates: list[Served]) -> Served:
    eventually(lambda: any(each.lines(LEADS) for each in candidates), START_SECONDS)
    (leader,) = [each for each in candidates if each.lines(LEADS)]
    return leader


def await_price(upstream: Upstream, simulator: Simulator, server: Served) -> None:
    """Advance upstream's price and wait until the server shows it."""
    upstream.shift += 61

    def arrived() -> bool:
        said = quoted(simulator)
        return said == shown(server) and said == quoted(simulator)

    eventually(arrived, START_SECONDS)


@pytest.mark.endurance
def test_one_polls_and_another_takes_over(url: str, tmp_path: Path) -> None:
    upstream = Upstream()
    with (
        upstream.running() as simulator,
        servers(tmp_path, "ab", url, simulator, LIVE_EVERY="0.2s") as both,
    ):
        leader = await_leader(both)
        (follower,) = [each for each in both if each is not leader]
        leader.await_line("refresh ended")
        for server in (leader, follower):
            await_price(upstream, simulator, server)
        assert leader.lines("live prices")
        assert not follower.lines(LEADS)
        assert not follower.lines("live prices")

        leader.process.kill()
        leader.process.wait()
        follower.await_line(LEADS)
        await_price(upstream, simulator, follower)
        follower.await_line("live prices")
        text = leader.log.read_text() + follower.log.read_text()
        assert "Traceback" not in text
    assert values(url, "SELECT count(*) FROM refresh_run") == [1], "the first load, once"


@pytest.mark.endurance
def test_a_stopped_leader_makes_room(url: str, tmp_path: Path, simulator: Simulator) -> None:
    with servers(tmp_path, "ab", url, simulator) as both:
        leader = await_leader(both)
        leader.process.send_signal(signal.SIGTERM)
        assert leader.process.wait(START_SECONDS) == 0
        (follower,) = [each for each in both if each is not leader]
        follower.await_line(LEADS)
        assert "Traceback" not in leader.log.read_text() + follower.log.read_text()


@pytest.mark.endurance
def test_a_stuck_leader_is_replaced(url: str, tmp_path: Path, simulator: Simulator) -> None:
    with servers(tmp_path, "ab", url, simulator) as both:
        leader = await_leader(both)
        (follower,) = [each for each in both if each is not leader]
        # not within a transaction, whose row locks the other one's start would wait for
        leader.await_line("refresh ended")
        follower.await_line("Application startup complete.")
        leader.process.send_signal(signal.SIGSTOP)
        try:
            follower.await_line(LEADS)
        finally:
            leader.process.send_signal(signal.SIGCONT)
        leader.await_line("no longer leading the deployment")
        assert len(leader.lines(LEADS)) == 1


def test_a_stopping_leader_starts_nothing_more(
    url: str, tmp_path: Path, simulator: Simulator
) -> None:
    """Its run is interrupted, so it is due again for the next leader."""
    simulator.add_fault(Fault("slow", path="market_chart", times=None, seconds=60))
    with servers(tmp_path, "", url, simulator, REFRESH_EVERY="1d") as start:
        server = start("a")
        server.await_line("refresh started")
        with ThreadPoolExecutor() as threads, server.client() as client:
            # a request under way, so that stopping takes its time
            query = (
                'mutation { refreshPrices(input: {wait: true, idempotencyKey: "k"}) { started } }'
            )
            waiting = threads.submit(
                client.post,
                "/graphql",
                json={"query": query},
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
            eventually(lambda: values(url, "SELECT count(*) FROM refresh_run_key") == [1])
            _stop(server)
            assert waiting.result().status_code == 200
    assert values(url, "SELECT status FROM refresh_run") == ["INTERRUPTED"]


@pytest.mark.endurance
def test_missed_times_are_caught_up_once(url: str, tmp_path: Path, simulator: Simulator) -> None:
    triggers = "SELECT trigger FROM refresh_run ORDER BY id"
    with servers(tmp_path, "", url, simulator, REFRESH_EVERY="1d") as start:
        first = start("a")
        first.await_line("refresh ended")
        first.await_line("the next refresh is due later")
        _stop(first)
        assert values(url, triggers) == ["STARTUP"]

        values(url, "UPDATE refresh_run SET started_at = started_at - interval '10 days'")
        second = start("b")
        second.await_line("refresh ended")
        second.await_line("the next refresh is due later")
        _stop(second)
        assert values(url, triggers) == ["STARTUP", "SCHEDULE"]

        third = start("c")
        third.await_line("the next refresh is due later")
        _stop(third)
        assert values(url, triggers) == ["STARTUP", "SCHEDULE"], "a restart doubles nothing"


@pytest.mark.endurance
def test_the_run_of_a_killed_leader_is_completed(
    url: str, tmp_path: Path, simulator: Simulator
) -> None:
    with servers(tmp_path, "", url, simulator, REFRESH_EVERY="1d") as start:
        first = start("a")
        first.await_line("the next refresh is due later")
        _stop(first)
        values(url, "UPDATE refresh_run SET started_at = started_at - interval '2 days'")
        simulator.add_fault(Fault("slow", path="market_chart", times=None, seconds=60))
        second, third = start("b"), start("c")
        leader = await_leader([second, third])
        leader.await_line("refresh started")
        leader.process.kill()
        leader.process.wait()
        simulator.clear_faults()
        (other,) = [each for each in (second, third) if each is not leader]
        other.await_line("refresh ended")
        other.await_line("the next refresh is due later")
    found = values(url, "SELECT trigger || ' ' || status FROM refresh_run ORDER BY id")
    assert found == ["STARTUP SUCCEEDED", "SCHEDULE INTERRUPTED", "SCHEDULE SUCCEEDED"]


@pytest.mark.endurance
def test_runs_of_other_processes_count(url: str, tmp_path: Path, simulator: Simulator) -> None:
    """A full refresh by any process delays the next one; a partial one does not."""
    mutation = "mutation {{ refreshPrices(input: {{wait: true{}}}) {{ run {{ status }} }} }}"
    with servers(tmp_path, "", url, simulator, REFRESH_EVERY="1d") as start:
        first = start("a")
        first.await_line("the next refresh is due later")
        graphql(first, mutation.format(', coins: ["bitcoin"]'), TOKEN)
        _stop(first)
        values(
            url,
            "UPDATE refresh_run SET started_at = started_at - interval '2 days' "
            "WHERE request = '{}'",
        )
        second = start("b")
        second.await_line("the next refresh is due later")
        graphql(second, mutation.format(""), TOKEN)
        _stop(second)
        assert values(url, "SELECT trigger FROM refresh_run ORDER BY id") == [
            "STARTUP", "MUTATION", "SCHEDULE", "MUTATION",
        ]  # fmt: skip


def _stop(server: Served) -> None:
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(START_SECONDS) == 0
    assert "Traceback" not in server.log.read_text()
