"""How soon another process reports a commit, and what a restart of PostgreSQL costs."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from benchmarks.crowd import Subscriber, gather, until
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from benchmarks.load import quantile
from benchmarks.peers.catalog import COINGRAPH
from models.postgres.database import Database
from models.prices.write_latest import Newest, store_quotes
from server.postgres.embedded import EmbeddedPostgres
from simulator import run_simulator

_COMMITS = 200
_APART = 0.02
_FOLLOWERS = 100
_RESTARTS = 3
_AWAY_SECONDS = 3.0
_ONE = "subscription { priceUpdates { revision kind prices { coin currency price observedAt } } }"
_SERIES = "SELECT id FROM series WHERE coin_id = 'bitcoin' AND currency_code = 'usd'"
_TITLE = "a commit in one process, received by a subscriber of another"
_RESTART = f"PostgreSQL stopped and started again under {_FOLLOWERS} subscribers"


def latency(laboratory: Laboratory) -> Section:
    """Commit a price in this process, repeatedly, and measure when a server sends it."""
    with laboratory.copy("latency") as url, COINGRAPH.start(laboratory.place(url)) as server:
        times = sorted(asyncio.run(_delays_after_commits(url, server.url)))
    figure = Figure(
        _TITLE, "median < 50 ms", quantile(times, 0.5) * 1e3, 50, unit="ms", at_most=True
    )
    row = [f"{len(times)}", *(f"{quantile(times, q) * 1e3:.1f}" for q in (0.5, 0.99))]
    return Section(
        _TITLE, ("commits", "median ms", "p99 ms", "max ms"), [[*row, f"{times[-1] * 1e3:.1f}"]],
        [figure], ["From the return of COMMIT to the frame's arrival; below 0: it was faster."],
    )  # fmt: skip


async def _delays_after_commits(url: str, server: str) -> list[float]:
    loop = asyncio.get_running_loop()
    database = Database(url)
    try:
        (subscriber,) = await gather(server, _ONE, 1)
        [row] = await database.fetch(_SERIES)
        times: list[float] = []
        for _ in range(_COMMITS):
            before = subscriber.received[-1][1]
            async with database.write() as session:
                price = 1e5 * random.random()  # noqa: S311 - any price
                quote = Newest(row["id"], datetime.now(UTC), price, None, None)
                await store_quotes(session, [quote])
            committed = loop.time()
            await until(lambda before=before: subscriber.received[-1][1] > before)  # type: ignore[misc]
            times.append(subscriber.received[-1][0] - committed)
            await asyncio.sleep(_APART)
        return times
    finally:
        await database.close()


def restart(laboratory: Laboratory) -> Section:
    """Stop PostgreSQL under subscribers; seconds from its return to each one's next update."""
    folder = laboratory.options.folder / "restarted"
    postgres = EmbeddedPostgres(folder)
    with run_simulator() as simulator:
        settings = {
            "COINGECKO_BASE_URL": simulator.base_url,
            "COINGECKO_REQUESTS_PER_MINUTE": "600000",
            "HISTORY_DAYS": "3",
        }
        with COINGRAPH.start(laboratory.place(postgres.start()), **settings) as server:
            try:
                rows, worst = asyncio.run(_restarted(server.url, postgres))
            finally:
                postgres.stop(timeout=30)
    figure = Figure(_RESTART, "a gap update within 5 s", worst, 5, unit="s", at_most=True)
    return Section(_RESTART, ("restart", "received", "closed", "median s", "max s"), rows, [figure])


async def _restarted(server: str, postgres: EmbeddedPostgres) -> tuple[list[list[str]], float]:
    loop = asyncio.get_running_loop()
    crowd = await gather(server, _ONE, _FOLLOWERS)
    rows: list[list[str]] = []
    for number in range(1, _RESTARTS + 1):
        seen = [len(each.gaps) for each in crowd]
        await asyncio.to_thread(postgres.stop, 30)
        await asyncio.sleep(_AWAY_SECONDS)
        await asyncio.to_thread(postgres.start)
        back = loop.time()
        await until(partial(_received_again, crowd, seen))
        times = sorted(each.gaps[-1] - back for each in crowd if each.closed is None)
        closed = len(crowd) - len(times)
        shown = (f"{quantile(times, 0.5):.2f}", f"{times[-1]:.2f}") if times else ("–", "–")
        rows.append([str(number), str(len(times)), str(closed), *shown])
    for each in crowd:
        each.leave()
    return rows, max(float(row[-1]) for row in rows)


def _received_again(crowd: Sequence[Subscriber], seen: Sequence[int]) -> bool:
    return all(
        each.closed is not None or len(each.gaps) > before
        for each, before in zip(crowd, seen, strict=True)
    )
