"""`serve --workers N`: its real processes are queried, killed and stopped."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.bootstrap.database import pool_size
from simulator import Fault, Simulator, SimulatorOptions, run_simulator
from tests.conftest import new_database
from tests.server.postgres_processes import eventually, gone, processes, servers_of
from tests.server.server_process import COMMAND, SMALL, START_SECONDS, Served, environment, served
from tests.serving import TOKEN, connected

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform == "win32", reason="one process only there"),
]
REFRESH = """mutation Refresh($wait: Boolean!, $key: String) {
  refreshPrices(input: {wait: $wait, idempotencyKey: $key}) { started run { id status } }
}"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with run_simulator(SimulatorOptions()) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def three_url(postgres_url: str) -> Iterator[str]:
    with new_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def three(
    three_url: str, upstream: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Three workers after their first refresh. Killed ones are replaced."""
    folder = tmp_path_factory.mktemp("three")
    settings = {"DATABASE_URL": three_url, "COINGECKO_BASE_URL": upstream.base_url}
    with served(folder, "--workers", "3", **settings) as server:
        server.await_workers(3)
        server.await_line("refresh ended")
        yield server


def value(url: str, query: str) -> Any:
    async def ask() -> object:
        async with connected(url) as connection:
            return await connection.fetchval(query)

    return asyncio.run(ask())


def refresh(client: httpx.Client, *, wait: bool, key: str | None = None) -> Any:
    body = {"query": REFRESH, "variables": {"wait": wait, "key": key}}
    answer = client.post("/graphql", json=body, headers={"Authorization": f"Bearer {TOKEN}"})
    return answer.json()["data"]["refreshPrices"]


def test_connections_are_shared_out_evenly(three: Served) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(three.client()) for _ in range(8)]
        found = [three.worker_of(client) for client in clients]
        assert sorted(Counter(found).values()) == [2, 3, 3]
        assert [three.worker_of(client) for client in clients] == found, "kept alive"


def test_the_first_load_runs_in_one_worker(three: Served, three_url: str) -> None:
    (migrated,) = three.lines("database migrated")
    assert "worker" not in migrated, "the parent's work"
    assert len(three.lines("refresh started")) == 1
    assert value(three_url, "SELECT count(*) FROM refresh_run WHERE trigger = 'STARTUP'") == 1
    assert three.await_line("serving")["workers"] == 3


def test_the_pools_fit_into_100_connections() -> None:
    """Of 100, PostgreSQL reserves 3; each listener, refresh and leader takes one more.

    With 32 workers a worker may have to wait if all use their whole pool.
    """
    for workers in range(1, 33):
        size = pool_size(workers)
        assert size >= 1
        assert workers * (size + 1) + 2 <= (98 if workers == 32 else 97)


def test_no_secret_is_in_a_command_line(three: Served, three_url: str) -> None:
    table = processes()
    commands = " ".join(table[pid][1] for pid in three.await_workers(3))
    assert "server.process.worker" in commands
    assert TOKEN not in commands
    assert three_url not in commands


def test_a_refresh_is_joined_from_another_worker(three: Served, upstream: Simulator) -> None:
    upstream.add_fault(Fault("slow", times=None, seconds=60))
    with three.client() as here, three.client() as there, ThreadPoolExecutor() as threads:
        assert three.worker_of(here) != three.worker_of(there)
        begun = len(three.lines("refresh started"))
        waiting = threads.submit(refresh, here, wait=True)
        eventually(lambda: len(three.lines("refresh started")) > begun)
        joined = refresh(there, wait=False)
        upstream.clear_faults()
        ended = waiting.result()
    assert (ended["started"], ended["run"]["status"]) == (True, "SUCCEEDED")
    assert joined == {"started": False, "run": {"id": ended["run"]["id"], "status": "RUNNING"}}


def test_a_killed_worker_is_replaced(three: Served) -> None:
    before = three.await_workers(3)
    runs = len(three.lines("refresh started"))
    with ExitStack() as stack:
        clients = [stack.enter_context(three.client()) for _ in range(3)]
        workers = {three.worker_of(client): client for client in clients}
        assert set(workers) == before
        killed, *others = workers
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: gone({killed}))
        for pid in others:
            assert three.worker_of(workers[pid]) == pid
        after = three.await_workers(3)
        assert len(after & before) == 2
        assert three.children() == after
        # as soon as it says that it serves, it has the fewest connections
        eventually(lambda: _answers(three) in after - before)
    assert any(
        line["because"] == f"process {killed} ended by SIGKILL"
        for line in three.lines("a worker is restarted")
    )
    assert len(three.lines("refresh started")) == runs


def _answers(server: Served) -> int:
    """Return the worker that serves a new connection."""
    with server.client() as client:
        return server.worker_of(client)


@pytest.mark.endurance
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_them_all(
    number: signal.Signals, empty_url: str, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.add_fault(Fault("slow", times=None, seconds=60))
    settings = {"DATABASE_URL": empty_url, "COINGECKO_BASE_URL": simulator.base_url}
    with served(tmp_path, WORKERS="2", **settings) as server:
        workers = server.await_workers(2)
        server.await_line("refresh started")
        with server.client() as one, server.client() as other, ThreadPoolExecutor() as threads:
            assert {server.worker_of(one), server.worker_of(other)} == workers
            waiting = [
                threads.submit(refresh, client, wait=True, key=key)
                for key, client in {"one": one, "other": other}.items()
            ]
            eventually(lambda: value(empty_url, "SELECT count(*) FROM refresh_run_key") == 2)
            os.killpg(server.process.pid, number)  # as a terminal does
            assert server.process.wait(START_SECONDS) == 0
            answers = [each.result() for each in waiting]
        assert [answer["run"]["status"] for answer in answers] == ["INTERRUPTED"] * 2
    assert gone(workers)
    assert value(empty_url, "SELECT string_agg(status::text, ' ') FROM refresh_run") == (
        "INTERRUPTED"
    )
    assert "Traceback" not in server.log.read_text()
    assert not server.lines("a worker is restarted")


@pytest.mark.endurance
def test_the_workers_of_a_killed_parent_end(tmp_path: Path) -> None:
    with served(tmp_path, "--demo", "--workers", "2", DATA_DIR="data") as server:
        workers = server.await_workers(2)
        database = servers_of(tmp_path / "data/demo")
        with server.client() as client:
            assert client.get("/health/ready").status_code == 200
        server.process.kill()
        server.process.wait()
        eventually(lambda: gone(workers))
        eventually(lambda: gone(database))
    assert "Traceback" not in server.log.read_text()


def test_workers_that_cannot_start_end_it(
    empty_url: str, shared_simulator: Simulator, tmp_path: Path
) -> None:
    """The Python of a worker ends before our code runs."""
    text = "import os, sys\nif '-P' in sys.orig_argv: os._exit(7)\n"
    (tmp_path / "sitecustomize.py").write_text(text)
    given = {
        **SMALL,
        "DATABASE_URL": empty_url,
        "COINGECKO_BASE_URL": shared_simulator.base_url,
        "WORKERS": "2",
    }
    env = environment(given)
    env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    done = subprocess.run(
        COMMAND, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert re.fullmatch(
        r"coingraph: No worker could begin to serve \(process \d+ ended with status 7\); .+",
        done.stderr.splitlines()[-1],
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("count", ["0", "33"])
def test_an_invalid_number_of_workers(count: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--workers", count],
        env=environment(SMALL),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    limit = "greater than or equal to 1" if int(count) < 1 else "less than or equal to 32"
    assert done.stderr == f"coingraph: WORKERS: input should be {limit}\n"
    assert not (tmp_path / ".coingraph").exists()
