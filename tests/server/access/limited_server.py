"""A server with rate limits and a clock that the test moves, and callers behind a proxy."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx

from server.access.rate_limits import RateLimits
from simulator import Simulator
from tests.serving import Client, LiveServer, live_server, make_settings

POINTS = 5_000  # a window
ONE = "{ __typename }"
COST = 100  # of ONE, when it is computed


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def limited_server(
    database_url: str, simulator: Simulator, clock: Clock, **more: Any
) -> AsyncIterator[LiveServer]:
    """Serve with POINTS in a window that has just begun."""
    settings = make_settings(
        database_url, simulator, max_cost=POINTS, rate_limit_points=POINTS, **more
    )
    async with live_server(settings) as server:
        server.application.admission.rates = RateLimits(POINTS, clock=clock)
        yield server


async def ask(client: Client, query: str = ONE, **headers: str) -> httpx.Response:
    """Send a query that bypasses the cache, so that its cost is charged."""
    body = {"query": query, "extensions": {"cost": True}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.http.post("/graphql", json=body, headers=named)


def left(response: httpx.Response) -> tuple[int, int]:
    """Return the remaining points and the seconds until the next window."""
    name, *parameters = response.headers["ratelimit"].split(";")
    assert name == '"points"'
    values = dict(each.split("=") for each in parameters)
    return int(values["r"]), int(values["t"])
