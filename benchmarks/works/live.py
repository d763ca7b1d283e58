"""A thousand subscribers: the cost of one, the delay of a change, the effect of stalled ones."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import urlsplit

import asyncpg
import orjson

from benchmarks.crowd import Subscriber, delays, gather, until
from benchmarks.databases import HISTORY_DAYS, run_sql
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from benchmarks.load import quantile
from benchmarks.peers.catalog import COINGRAPH
from benchmarks.processes import Running, clean_environment, coingraph, memory
from models.postgres.notifications import CHANNEL
from simulator import run_simulator

_SUBSCRIBERS = 1_000
_STALLED = 10
_KIB = 1024
_ALL = "subscription { priceUpdates { revision kind prices { coin currency price observedAt } } }"
_SETTLE_SECONDS = 2.0
# Every series has something to correct then, each in a transaction of its own.
_DISTORT = """
    UPDATE price_hourly SET price = price * 1.001 WHERE bucket > now() - interval '1 day'
"""
_TITLE = f"{_SUBSCRIBERS:,} subscribers to all 44 series on one process"

Committed = list[tuple[float, int]]  # when this process heard of a commit, and its revision


def run(laboratory: Laboratory) -> Section:
    with (
        laboratory.copy("live") as url,
        run_simulator() as simulator,
        COINGRAPH.start(laboratory.place(url), COINGECKO_BASE_URL=simulator.base_url) as server,
    ):
        environment = {
            "DATABASE_URL": url,
            "COINGECKO_BASE_URL": simulator.base_url,
            "COINGECKO_REQUESTS_PER_MINUTE": "600000",
            "HISTORY_DAYS": str(HISTORY_DAYS),
            "LOG_LEVEL": "error",
        }
        return asyncio.run(_Measurement(server, url, environment).section())


class _Measurement:
    def __init__(self, server: Running, url: str, environment: Mapping[str, str]) -> None:
        self._server = server
        self._url = url
        self._environment = environment
        self._rows: list[list[str]] = []

    async def section(self) -> Section:
        (warm,) = await gather(self._server.url, _ALL, 1)
        warm.leave()
        before = await self._memory()
        crowd = await gather(self._server.url, _ALL, _SUBSCRIBERS)
        each = (await self._memory() - before) / _SUBSCRIBERS / _KIB
        alone = await self._refresh("all reading", crowd)
        stalled = await gather(self._server.url, _ALL, _STALLED, small=True)
        for one in stalled:
            one.stall()
        with_stalled = await self._refresh(f"{_STALLED} more that do not read", crowd)
        for one in (*crowd, *stalled):
            one.leave()
        after = await self._memory()
        left = self._connections()
        for one in await gather(self._server.url, _ALL, _SUBSCRIBERS):
            one.leave()
        again = (await self._memory() - after) / 2**20
        figures = [
            _at_most(_TITLE, "memory of an idle one < 50 KiB", each, 50, "KiB"),
            _at_most(_TITLE, "received within 1 s of the commit", alone[-1], 1, "s"),
            _at_most(f"the same with {_STALLED} stalled", "within 1 s", with_stalled[-1], 1, "s"),
            _at_most("after they all left", "connections left: 0", left, 0, ""),
            _at_most("as many came and left again", "holds no more (≤ 5 MiB)", again, 5, "MiB"),
        ]
        remark = (
            "A refresh of another process corrects every series, each in a transaction of its own; "
            "a separate listener times the commits. All share the machine: the "
            f"subscribers' own work on {_SUBSCRIBERS:,} messages is in each time. After they left, "
            f"the server held {(after - before) / 2**20:.0f} MiB more than before they came: what "
            "Python has freed and keeps for the next."
        )
        header = ("", "commits", "messages", "median ms", "p99 ms", "max ms")
        return Section(_TITLE, header, self._rows, figures, [remark])

    async def _refresh(self, name: str, crowd: Sequence[Subscriber]) -> list[float]:
        """Refresh in another process; rising seconds from each commit to each subscriber."""
        await asyncio.to_thread(run_sql, self._url, _DISTORT)
        before = sum(len(each.received) for each in crowd)
        async with _commits(self._url) as committed:
            await asyncio.to_thread(_refresh, self._environment)
            last = max(revision for _, revision in committed)
            await until(lambda: all(each.received[-1][1] >= last for each in crowd))
        times = sorted(late for at, revision in committed for late in delays(crowd, revision, at))
        messages = sum(len(each.received) for each in crowd) - before
        shown = (quantile(times, 0.5), quantile(times, 0.99), times[-1])
        self._rows.append(
            [name, f"{len(committed)}", f"{messages:,}", *(f"{each * 1e3:.1f}" for each in shown)]
        )
        return times

    async def _memory(self) -> int:
        await asyncio.sleep(_SETTLE_SECONDS)
        return memory(self._server.process)

    def _connections(self) -> int:
        port = urlsplit(self._server.url).port
        connected = self._server.process.net_connections("tcp")
        return sum(each.laddr[1] == port and bool(each.raddr) for each in connected)


def _at_most(work: str, target: str, value: float, limit: float, unit: str) -> Figure:
    return Figure(work, target, value, limit, unit=unit, at_most=True)


@contextlib.asynccontextmanager
async def _commits(url: str) -> AsyncIterator[Committed]:
    """Hear of commits as any listener does, until the block ends."""
    committed: Committed = []
    loop = asyncio.get_running_loop()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        change = orjson.loads(str(payload))
        if "deployment" in change:
            committed.append((loop.time(), change["deployment"]))

    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.add_listener(CHANNEL, hear)
        yield committed
    finally:
        await connection.close()


def _refresh(environment: Mapping[str, str]) -> None:
    subprocess.run(  # noqa: S603 - our own command
        coingraph("refresh"), env=clean_environment(environment), capture_output=True, check=True
    )
