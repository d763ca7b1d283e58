"""Twenty well-behaved clients beside a minute of hostile ones."""

import asyncio
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks import wire
from benchmarks.figures import Figure, Section
from benchmarks.hostility import attack_all
from benchmarks.laboratory import Laboratory
from benchmarks.load import quantile
from benchmarks.peers.catalog import COINGRAPH
from benchmarks.processes import MIB, memory
from benchmarks.questions import STRAWBERRY, Ask

_CLIENTS = 20
_EVERY = 0.2
_SECONDS = 60.0
_QUIET_SECONDS = 10.0
_HELD = 1.1
_OK = 200
_TITLE = f"{_CLIENTS} well-behaved clients beside hostile ones"


class Behaved:
    """What the well-behaved were answered."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.errors: Counter[str] = Counter()


def run(laboratory: Laboratory) -> Section:
    seconds = _QUIET_SECONDS if laboratory.options.quick else _SECONDS
    asks = [STRAWBERRY.currencies, STRAWBERRY.coins]
    asks += [STRAWBERRY.prices(laboratory.recent(number)) for number in range(20)]
    # the hostile are another process, so that they slow nobody down but the server
    with (
        COINGRAPH.start(laboratory.place()) as server,
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
    ):
        pool.submit(attack_all, server.url, _QUIET_SECONDS).result()  # what is kept is kept then
        before = memory(server.process)
        alone = asyncio.run(_behaved(server.url, asks, _QUIET_SECONDS))
        hostile = pool.submit(attack_all, server.url, seconds)
        beside = asyncio.run(_behaved(server.url, asks, seconds))
        said = hostile.result()
        time.sleep(_QUIET_SECONDS)
        held = memory(server.process) / before
    rows = [_row("alone", alone), _row("beside them", beside)]
    p99 = quantile(sorted(beside.latencies), 0.99)
    figures = [
        Figure(_TITLE, "errors: 0", beside.errors.total(), 0, unit="", at_most=True),
        Figure(_TITLE, "memory afterwards: as before", held, _HELD, at_most=True),
        Figure(_TITLE, "their p99 ≤ 250 ms", p99, 250, unit="ms", at_most=True),
    ]
    remark = (
        f"{seconds:.0f} s, each kind of attack by one client as fast as it can, from another "
        f"address; {before / MIB:.0f} MiB before. What came of the attacks:\n"
    )
    told = [f"- {name}: {_told(counts)}" for name, counts in said.items()]
    told += [f"- the well-behaved saw: {_told(beside.errors)}"] * bool(beside.errors)
    header = ("", "requests", "errors", "median ms", "p99 ms", "max ms")
    return Section(_TITLE, header, rows, figures, [remark + "\n" + "\n".join(told)])


async def _behaved(url: str, asks: list[Ask], seconds: float) -> Behaved:
    behaved = Behaved()
    async with asyncio.TaskGroup() as group:
        for number in range(_CLIENTS):
            group.create_task(_client(url, asks[number:] + asks[:number], seconds, behaved))
    return behaved


async def _client(url: str, asks: list[Ask], seconds: float, behaved: Behaved) -> None:
    """Ask one question after the other at a calm pace, over one connection."""
    loop = asyncio.get_running_loop()
    connection = await wire.connect(url)
    begun = loop.time()
    for number in range(int(seconds / _EVERY)):
        await asyncio.sleep(max(0.0, begun + number * _EVERY - loop.time()))
        asked = loop.time()
        try:
            answer = await connection.send(asks[number % len(asks)])
        except ConnectionError as error:
            behaved.errors[str(error)] += 1
            connection = await wire.connect(url)
            continue
        behaved.latencies.append((loop.time() - asked) * 1e3)
        if answer.status != _OK or b'"errors"' in answer.body[:200]:
            behaved.errors[f"{answer.status} {bytes(answer.body[:80])!r}"] += 1
    connection.close()


def _row(name: str, behaved: Behaved) -> list[str]:
    rising = sorted(behaved.latencies)
    shown = (quantile(rising, 0.5), quantile(rising, 0.99), rising[-1])
    counts = [f"{len(rising):,}", str(behaved.errors.total())]
    return [name, *counts, *(f"{each:.1f}" for each in shown)]


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} × {count:,}" for name, count in counts.most_common(5)) or "nothing"
