"""The cost of statistics, averages, downsampling and anomalies, and how they block the loop."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from benchmarks.databases import HOURS, fetch
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from models.postgres.database import Database
from schema import build_schema
from schema.context import Access, Caller, Context, Services

_AT_ONCE = 10  # of the same query, as a server meets them
_TICK = 0.001  # seconds between two looks at whether the event loop still turns
_EACH = """query ($from: DateTime!, $to: DateTime!) {{
    prices(coin: "bitcoin", from: $from, to: $to) {{ revision {} }}
}}"""
_FIELDS = {
    "statistics": "statistics { count first { price timestamp } last { price timestamp } "
    "minimum { price timestamp } maximum { price timestamp } mean standardDeviation change "
    "changePercent volatility maximumDrawdown { percent peak { price } trough { price } } }",
    "movingAverage, SMA": "movingAverage(window: 24)",
    "movingAverage, EMA": "movingAverage(window: 24, kind: EMA)",
    "downsampled to 300": "downsampled(maxPoints: 300) { timestamp price }",
}
_ANOMALIES = """query ($from: DateTime!, $to: DateTime!) {
    anomalies(from: $from, to: $to) { timestamp coin currency score direction scope }
}"""
_BARE = "neither of them"
Execute = Callable[[str], Awaitable[Any]]


def run(laboratory: Laboratory) -> Section:
    """Execute in this process, without HTTP, so that only the execution is measured."""
    series = fetch(laboratory.url, "SELECT 1 FROM series WHERE last_bucket IS NOT NULL")
    whole = f"anomalies in {len(series)} × {HOURS:,} hours"
    return _section(whole, asyncio.run(_measure_all(laboratory, whole)))


@dataclass(frozen=True, slots=True)
class _Measured:
    """Milliseconds by name of the query: of CPU in each round, and that the loop was held."""

    rounds: int
    cpu: dict[str, list[float]]
    held: dict[str, float]
    anomalies: int


async def _measure_all(laboratory: Laboratory, whole: str) -> _Measured:
    """Measure each field, the anomalies of everything under the name of `whole`, and neither."""
    database = Database(laboratory.url)
    schema, part = build_schema(), laboratory.recent(0)
    caller = Caller("benchmark", Access.GRANTED, Access.GRANTED)
    variables = {"from": part.start.isoformat(), "to": part.end.isoformat()}

    async def execute(query: str) -> Any:  # noqa: ANN401 - a GraphQL answer
        services: Any = Services(database, None, None, None, None)  # type: ignore[arg-type] # only read from
        context = Context(services, caller, now=datetime.now(UTC))
        result = await schema.execute(query, variables, context_value=context)
        if result.errors:
            raise result.errors[0]
        return result.data

    rounds = laboratory.options.rounds * 2
    queries = {name: _EACH.format(field) for name, field in _FIELDS.items()}
    queries |= {_BARE: _EACH.format(""), whole: _ANOMALIES}
    try:
        cpu, held = await _measure(execute, queries, rounds)
        number = len((await execute(_ANOMALIES))["anomalies"])
    finally:
        await database.close()
    return _Measured(rounds, cpu, held, number)


def _section(whole: str, measured: _Measured) -> Section:
    bare, held = measured.cpu[_BARE], measured.held
    taken = {
        name: [
            each - other if name in _FIELDS else each for each, other in zip(ms, bare, strict=True)
        ]
        for name, ms in measured.cpu.items()
        if name != _BARE
    }
    limits = dict.fromkeys(_FIELDS, 1.0) | {whole: 150.0}
    figures = [
        Figure(name, f"≤ {limit:g} ms of CPU", median(taken[name]), limit, "ms", at_most=True)
        for name, limit in limits.items()
    ]
    figures.append(Figure(whole, "holds the loop ≤ 50 ms", held[whole], 50, "ms", at_most=True))
    rows = [
        [name, f"{median(ms):.2f}", f"{min(ms):.2f}–{max(ms):.2f}", f"{held[name]:.1f}"]
        for name, ms in taken.items()
    ]
    remark = (
        f"Medians of {measured.rounds} rounds of {_AT_ONCE} executions each, in this process. CPU "
        "is its own, of all its threads: of a field, what is more than without it "
        f"({median(bare):.2f} ms with reading the {HOURS:,} hours); of anomalies "
        f"({measured.anomalies:,} found), all with reading their prices. The loop is looked at "
        f"each {_TICK * 1e3:g} ms: by how much it was late at most. Others' load on the machine "
        "adds to both."
    )
    title = f"what is computed from {HOURS:,} hourly points"
    return Section(title, ("", "CPU ms", "min–max", "loop held ms"), rows, figures, [remark])


async def _measure(
    execute: Execute, queries: Mapping[str, str], rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Milliseconds of CPU in each round, and the median of the event loop's longest delay."""
    cpu, held = defaultdict(list), defaultdict(list)
    for query in queries.values():
        await execute(query)
    for _ in range(rounds):
        for name, query in queries.items():
            before = time.process_time()
            for _ in range(_AT_ONCE):
                await execute(query)
            cpu[name].append((time.process_time() - before) * 1e3 / _AT_ONCE)
        for name, query in queries.items():
            held[name].append(await _longest_delay(execute, query) * 1e3)
    return cpu, {name: median(taken) for name, taken in held.items()}


async def _longest_delay(execute: Execute, query: str) -> float:
    delays: list[float] = []

    async def watch() -> None:
        while True:
            due = time.perf_counter() + _TICK
            await asyncio.sleep(_TICK)
            delays.append(time.perf_counter() - due)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await execute(query)
    await asyncio.sleep(_TICK)
    watching.cancel()
    return max(delays)
