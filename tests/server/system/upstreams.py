"""An exchangeable upstream, and the expected data of a series for each."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from time import time
from typing import Any

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from simulator import SimulatorOptions
from simulator.app import create_simulator
from tests.ingestion.upstream import Hours, hours_of, points_of
from tests.serving import in_thread

_FAR = datetime(9999, 1, 1, tzinfo=UTC)
_CHART = "/api/v3/coins/{}/market_chart/range?vs_currency={}&from={}&to={}&precision=full"


class Worlds:
    """Markets, one of which is upstream at a time; all differ. Their clock is fixed."""

    def __init__(self) -> None:
        self._now = time()
        self._seed = 10
        self.turn()
        self._known: dict[tuple[str, int], tuple[Hours, dict[date, Any]]] = {}
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def turn(self) -> None:
        self._seed += 1
        self._app = create_simulator(SimulatorOptions(seed=self._seed, clock=lambda: self._now))

    def hours(self, name: str, *, days: int) -> Hours:
        """Return all hours that upstream has of a series in the last `days` days."""
        return self._hours_and_points(name, days)[0]

    def points(self, name: str, *, days: int) -> dict[date, Any]:
        """Return the days of all its daily points."""
        return self._hours_and_points(name, days)[1]

    def _hours_and_points(self, name: str, days: int) -> tuple[Hours, dict[date, Any]]:
        key = name, self._seed
        if key not in self._known:
            hourly = self._chart(name, timedelta(days=days))
            daily = self._chart(name, timedelta(days=364))
            self._known[key] = hours_of([hourly])[0], points_of([daily], _FAR)
        return self._known[key]

    def _chart(self, name: str, length: timedelta) -> dict[str, Any]:
        coin, currency = name.split("/")
        end = int(self._now) + 3_600
        target = _CHART.format(coin, currency, end - int(length.total_seconds()), end)
        answer = httpx.get(self.url + target, trust_env=False, timeout=120)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


@contextlib.asynccontextmanager
async def _serving(worlds: Worlds) -> AsyncIterator[None]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    worlds.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(worlds, lifespan="off", log_config=None, timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        await task
        listener.close()


@contextlib.contextmanager
def run_worlds() -> Iterator[Worlds]:
    """Serve during the block."""
    worlds = Worlds()
    with in_thread(_serving(worlds)):
        yield worlds
