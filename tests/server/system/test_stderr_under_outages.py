"""Outages during requests leave no coroutine un-awaited and no exception unretrieved.

Python and asyncio report such objects on stderr when they are collected.
"""

import asyncio
import contextlib
import itertools
import random
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from simulator import Simulator
from tests.server.proxy import Proxy, proxy_to
from tests.server.server_process import Served, served
from tests.server.streams.sse_client import events_of
from tests.server.streams.websocket_client import FOLLOW, SECONDS, talking_to
from tests.serving import PATIENCE, TOKEN, Client

pytestmark = pytest.mark.endurance

EXAMPLES = sorted((Path(__file__).parents[3] / "web" / "examples").glob("*.graphql"))
QUERIES = [path.read_text() for path in EXAMPLES if "query" in path.read_text()]
COIN = """
    id latest { price } usd: prices(currency: "usd") { points { price } statistics { mean } }
    eur: prices(currency: "eur", granularity: DAY) { columns { prices } coverage { present } }
    metadata { description } euros: latest(currency: "eur") { price }
"""
COIN = " ".join(
    [COIN, *(f"p{n}: prices(first: {n}) {{ points {{ price }} }}" for n in range(1, 30))]
)
WIDE = """{
    a: coins { nodes { %(coin)s } } b: coins(first: 1) { nodes { %(coin)s } }
    c: coin(id: "bitcoin") { %(coin)s } d: coin(id: "nothing") { %(coin)s }
    e: seriesStatus { coin reason } f: refreshRuns { nodes { items { error } } }
    g: latestPrices { price }
    h: anomalies(currencies: ["usd"]) { price } i: refreshPlan { calls }
}"""
REFRESH = "mutation { refreshPrices(input: {rebuild: true, wait: %s}) { run { status } } }"
WAIT, BEGIN = REFRESH % "true", REFRESH % "false"
ABANDONED = re.compile(r".*(?:never awaited|never retrieved|was destroyed but|Unclosed|unclosed).*")


class Load:
    """Sends distinct requests, so that none shares a computation."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers = itertools.count()

    async def ask(self, query: str) -> int:
        text = f"{query} # {next(self._numbers)}"
        return (await self._client.post(text, token=TOKEN)).status_code

    async def follow(self) -> None:
        """Subscribe over both transports and query over the WebSocket; expect no response."""
        with contextlib.suppress(Exception):
            async with talking_to(self._client) as talk, events_of(self._client, FOLLOW) as events:
                for number, query in enumerate((FOLLOW, WIDE % {"coin": COIN}, *QUERIES)):
                    await talk.begin(query, str(number))
                await events.next()
                for _ in range(8):
                    await talk.receive()

    async def leave(self, query: str, after: float) -> None:
        """Send a query and cancel it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after):
                await self.ask(query)

    def begin(self, chance: random.Random) -> list[asyncio.Task[object]]:
        queries = [*QUERIES, *[WIDE % {"coin": COIN}] * 4, BEGIN, WAIT]
        chance.shuffle(queries)
        each = [asyncio.create_task(self.ask(query)) for query in queries]
        left = [asyncio.create_task(self.leave(query, chance.uniform(0, 0.3))) for query in queries]
        return [*each, *left, *(asyncio.create_task(self.follow()) for _ in range(3))]


async def trouble(kind: str, proxy: Proxy, sql: asyncpg.Connection, chance: random.Random) -> None:
    await asyncio.sleep(chance.uniform(0, 0.2))
    match kind:
        case "cut within an answer":
            proxy.bytes_left = chance.randrange(1, 20_000)
            await asyncio.sleep(chance.uniform(0.1, 1))
            proxy.bytes_left = None
        case "cut":
            await proxy.cut()
            await asyncio.sleep(chance.uniform(0, 0.5))
            await proxy.restore()
        case "silent":
            proxy.freeze()
            await asyncio.sleep(chance.uniform(0, 3))
            proxy.thaw()
        case "terminated" | "cancelled":
            end = "pg_terminate_backend" if kind == "terminated" else "pg_cancel_backend"
            for _ in range(20):
                await sql.execute(
                    f"SELECT {end}(pid) FROM pg_stat_activity"  # noqa: S608 - one of two names
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                await asyncio.sleep(chance.uniform(0, 0.05))
        case "broken":
            await sql.execute("ALTER TABLE price_hourly RENAME COLUMN price TO lost")
            await asyncio.sleep(chance.uniform(0, 0.5))
            await sql.execute("ALTER TABLE price_hourly RENAME COLUMN lost TO price")


KINDS = ["cut within an answer", "cut", "silent", "terminated", "cancelled", "broken"]


@contextlib.asynccontextmanager
async def far_process(
    folder: Path, url: str, simulator: Simulator
) -> AsyncIterator[tuple[Served, Proxy]]:
    """Run a server without a cache, with warnings, behind a proxy that can be cut."""
    async with proxy_to(url) as proxy:
        settings = {
            "DATABASE_URL": proxy.url,
            "COINGECKO_BASE_URL": simulator.base_url,
            "CURRENCIES": "usd,eur",
            "CACHE_MEGABYTES": "0",
            "PYTHONWARNINGS": "always",
        }
        with served(folder, **settings) as server:
            await asyncio.to_thread(server.await_line, "refresh ended")
            yield server, proxy


async def test_outages_leave_no_unretrieved_errors(
    database_url: str,
    shared_simulator: Simulator,
    sql: asyncpg.Connection,
    tmp_path: Path,
) -> None:
    chance = random.Random(1)  # noqa: S311 - a test's
    async with far_process(tmp_path, database_url, shared_simulator) as (server, proxy):
        async with httpx.AsyncClient(
            base_url=server.url, timeout=PATIENCE, trust_env=False
        ) as http:
            load = Load(Client(server.url, http))
            statuses = set()
            for kind in KINDS:
                under_way = load.begin(chance)
                await trouble(kind, proxy, sql, chance)
                done = await asyncio.wait_for(
                    asyncio.gather(*under_way, return_exceptions=True), SECONDS
                )
                statuses |= {each for each in done if each is not None}
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, SECONDS) == 0
    assert ABANDONED.findall(server.log.read_text()) == []
    assert {200, 503} <= statuses
