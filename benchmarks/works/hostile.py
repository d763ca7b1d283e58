"""Twenty well-behaved clients during a minute of hostile ones."""

import asyncio
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.behaved import CLIENTS, Behaved, behave
from benchmarks.figures import Figure, Section
from benchmarks.hostility import attack_all
from benchmarks.laboratory import Laboratory
from benchmarks.load import quantile
from benchmarks.peers.catalog import COINGRAPH
from benchmarks.processes import MIB, memory
from benchmarks.questions import STRAWBERRY

_SECONDS = 60.0
_QUIET_SECONDS = 10.0
_HELD = 1.1
_TITLE = f"{CLIENTS} well-behaved clients next to hostile ones"


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
        alone = asyncio.run(behave(server.url, asks, _QUIET_SECONDS))
        hostile = pool.submit(attack_all, server.url, seconds)
        under_attack = asyncio.run(behave(server.url, asks, seconds))
        said = hostile.result()
        time.sleep(_QUIET_SECONDS)
        held = memory(server.process) / before
    rows = [_row("alone", alone), _row("under attack", under_attack)]
    p99 = quantile(sorted(under_attack.latencies), 0.99)
    figures = [
        Figure(_TITLE, "errors: 0", under_attack.errors.total(), 0, unit="", at_most=True),
        Figure(_TITLE, "memory afterwards: as before", held, _HELD, at_most=True),
        Figure(_TITLE, "their p99 ≤ 250 ms", p99, 250, unit="ms", at_most=True),
    ]
    remark = (
        f"{seconds:.0f} s, each kind of attack by one client as fast as it can, from another "
        f"address; {before / MIB:.0f} MiB before. What came of the attacks:\n"
    )
    lines = [f"- {name}: {_written(counts)}" for name, counts in said.items()]
    lines += [f"- the well-behaved saw: {_written(under_attack.errors)}"] * bool(
        under_attack.errors
    )
    header = ("", "requests", "errors", "median ms", "p99 ms", "max ms")
    return Section(_TITLE, header, rows, figures, [remark + "\n" + "\n".join(lines)])


def _row(name: str, behaved: Behaved) -> list[str]:
    rising = sorted(behaved.latencies)
    shown = (quantile(rising, 0.5), quantile(rising, 0.99), rising[-1])
    counts = [f"{len(rising):,}", str(behaved.errors.total())]
    return [name, *counts, *(f"{each:.1f}" for each in shown)]


def _written(counts: Counter[str]) -> str:
    return ", ".join(f"{name} × {count:,}" for name, count in counts.most_common(5)) or "nothing"
