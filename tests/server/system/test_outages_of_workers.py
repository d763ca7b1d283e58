"""Several workers lose the database and reconnect."""

import contextlib
import sys
from pathlib import Path

import httpx
import pytest

from simulator import Simulator
from tests.server.postgres_processes import eventually
from tests.server.proxy import proxy_to
from tests.server.server_process import START_SECONDS, served
from tests.server.system.test_database_unavailable import PRICES, unavailable
from tests.serving import in_thread

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.skipif(sys.platform == "win32", reason="one process only there"),
]


def test_each_worker_logs_the_outage_and_recovers(
    empty_url: str, shared_simulator: Simulator, tmp_path: Path
) -> None:
    settings = {"COINGECKO_BASE_URL": shared_simulator.base_url, "WORKERS": "2"}
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(in_thread(proxy_to(empty_url)))
        server = stack.enter_context(served(tmp_path, DATABASE_URL=proxy.url, **settings))
        workers = server.await_workers(2)
        server.await_line("refresh ended")
        clients = [stack.enter_context(server.client()) for _ in range(2)]
        assert {server.worker_of(client) for client in clients} == workers
        for spoil, restore in ((proxy.freeze, proxy.thaw), (proxy.cut_soon, proxy.restore_soon)):
            spoil()
            for client in clients:
                # cached responses may be served until the lost listener is noticed
                until(client, "/graphql", 503)
                unavailable(ask(client))
                assert client.get("/health/ready").status_code == 503
                assert client.get("/health/live").status_code == 200
            restore()
            for client in clients:
                until(client, "/health/ready", 200)
                assert ask(client).status_code == 200
        assert server.await_workers(2) == workers, "none was restarted"


def ask(client: httpx.Client) -> httpx.Response:
    return client.post("/graphql", json={"query": PRICES})


def until(client: httpx.Client, path: str, status: int) -> None:
    def look() -> bool:
        answer = ask(client) if path == "/graphql" else client.get(path)
        return answer.status_code == status

    eventually(look, START_SECONDS)
