"""A server with an embedded database and an exchangeable upstream, to be killed by tests."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from server.postgres.embedded import EmbeddedPostgres
from tests.server.postgres_processes import eventually, gone
from tests.server.server_process import START_SECONDS, Served, served
from tests.server.system.stored_data import Ledger
from tests.server.system.upstreams import Worlds
from tests.serving import TOKEN

DAYS = 5
_REBUILD = """mutation {
  refreshPrices(input: {rebuild: true, wait: true}) { run { status items { error } } }
}"""


def settings_of(folder: Path, worlds: Worlds) -> dict[str, str]:
    return {
        "CURRENCIES": "usd,eur",
        "HISTORY_DAYS": str(DAYS),
        "DATA_DIR": str(folder / "data"),
        "COINGECKO_BASE_URL": f"{worlds.url}/api/v3",
    }


@contextlib.contextmanager
def serving(folder: Path, worlds: Worlds, **more: str) -> Iterator[Served]:
    with served(folder, **(settings_of(folder, worlds) | more)) as server:
        yield server


def ledger_of(folder: Path) -> Ledger:
    return Ledger(EmbeddedPostgres(folder / "data").socket_dir, DAYS)


def await_ready(server: Served) -> None:
    with server.client() as http:
        eventually(lambda: http.get("/health/ready").status_code == 200, START_SECONDS)


def rebuild(server: Served) -> str:
    """Fetch everything again from upstream; return the status of the run."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with server.client() as http:
        answer = http.post("/graphql", json={"query": _REBUILD}, headers=headers)
    run = (answer.json()["data"] or {}).get("refreshPrices")
    return run["run"]["status"] if run else "UNAVAILABLE"


@contextlib.contextmanager
def refreshing(server: Served, worlds: Worlds, pause: float) -> Iterator[None]:
    """Enter the block a while after the start of a rebuild from another upstream."""

    def ask() -> None:
        with contextlib.suppress(httpx.TransportError):  # the server may be what is killed
            rebuild(server)

    worlds.turn()
    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(pause)
    yield
    asking.join()


def stop(server: Served) -> None:
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(START_SECONDS)


def await_end(pids: set[int]) -> None:
    eventually(lambda: gone(pids), START_SECONDS)
