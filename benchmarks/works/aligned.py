"""Many coins on one timeline: what one such answer costs, and whom it keeps waiting."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from benchmarks import load
from benchmarks.databases import HOURS
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from benchmarks.load import Target, quantile
from benchmarks.peers.catalog import COINGRAPH
from benchmarks.processes import send, watched
from benchmarks.questions import Ask, graphql
from benchmarks.works.memory import tracked_coins
from benchmarks.works.politeness import steady

_COINS, _CURRENCIES = 10, ["usd", "eur"]
_SERIES = _COINS * len(_CURRENCIES)
_RANGES = 1_000  # no answer can come from a cache
_CPU, _HELD = 60, 50
_QUERY = """
query ($coins: [ID!]!, $currencies: [ID!]!, $from: DateTime!, $to: DateTime!, $fill: FillPolicy!) {
  alignedPrices(coins: $coins, currencies: $currencies, from: $from, to: $to, fill: $fill) {
    timestamps series { coin currency prices }
  }
}"""
_HEADER = (
    "`fill`", "answers/s", "CPU ms", "PostgreSQL's", "median ms", "MB", "others' p99 ms",
)  # fmt: skip


def run(laboratory: Laboratory) -> Section:
    title = f"`alignedPrices` of {_SERIES} series × {HOURS:,} hours"
    rows: list[list[str]] = []
    figures: list[Figure] = []
    for fill in ("NONE", "NULL", "PREVIOUS"):
        row, cpu, held = _measure(laboratory, fill)
        rows.append(row)
        work = f"{title}, {fill}"
        figures += [
            Figure(work, f"≤ {_CPU} ms of CPU", cpu, _CPU, "ms", at_most=True),
            Figure(work, f"others' p99 ≤ {_HELD} ms", held, _HELD, "ms", at_most=True),
        ]
    remark = (
        "One after the other from one connection, a different range each. CPU is the server's for "
        "one answer, reading and HTTP included. The last column: the 99th percentile of a "
        "`{ __typename }` sent each 20 ms meanwhile."
    )
    return Section(title, _HEADER, rows, figures, [remark])


def _measure(laboratory: Laboratory, fill: str) -> tuple[list[str], float, float]:
    """Give the row, CPU milliseconds of one answer, and how long others wait."""
    seconds = laboratory.options.seconds
    asks = _asks(laboratory, fill)
    with COINGRAPH.start(laboratory.place()) as server, ThreadPoolExecutor(1) as pool:
        size = len(send(server.url, asks[0]).raise_for_status().content)
        target = Target.of(server.url, asks, laboratory.options.folder / "aligned.lines")
        load.run(target, laboratory.options.warmup, 0, 1)
        with watched(server.process, laboratory.postmaster) as usage:
            counted = load.run(target, seconds, 0, 1)
        other_load = pool.submit(load.run, target, seconds + 2, 0, 1)
        waits = asyncio.run(steady(server.url, seconds))
        other_load.result()
    cpu, postgres = (1e3 * each / counted.requests for each in (usage.cpu, usage.postgres_cpu))
    held = quantile(waits, 0.99)
    row = [
        fill, f"{counted.rate:.1f}", f"{cpu:.1f}", f"{postgres:.1f}", f"{counted.p50:.1f}",
        f"{size / 1e6:.2f}", f"{held:.1f}",
    ]  # fmt: skip
    return row, cpu, held


def _asks(laboratory: Laboratory, fill: str) -> list[Ask]:
    coins = tracked_coins(laboratory)[:_COINS]
    return [
        graphql(
            _QUERY,
            coins=coins,
            currencies=_CURRENCIES,
            fill=fill,
            **{"from": part.start.isoformat(), "to": part.end.isoformat()},
        )
        for part in map(laboratory.recent, range(_RANGES))
    ]
