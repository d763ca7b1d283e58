"""What statistics, averages, fewer points and anomalies cost, and how long they hold the loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

from benchmarks.databases import HOURS, fetch
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from models.database import Database
from schema import build_schema
from schema.context import Access, Caller, Context, Services

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
Execute = Callable[[str], Awaitable[Any]]


def run(laboratory: Laboratory) -> Section:
    """Execute in this process, without HTTP, so that nothing else is counted."""
    return asyncio.run(_run(laboratory))


async def _run(laboratory: Laboratory) -> Section:
    database = Database(laboratory.url)
    schema, part = build_schema(), laboratory.recent(0)
    caller = Caller("benchmark", Access.GRANTED, Access.GRANTED)
    variables = {"from": part.start.isoformat(), "to": part.end.isoformat()}

    async def execute(query: str) -> Any:  # noqa: ANN401 - a GraphQL answer
        services: Any = Services(database, None, None)  # type: ignore[arg-type] # only read from
        context = Context(services, caller, now=datetime.now(UTC))
        result = await schema.execute(query, variables, context_value=context)
        if result.errors:
            raise result.errors[0]
        return result.data

    rounds = laboratory.options.rounds * 10
    try:
        bare = await _measure(execute, _EACH.format(""), rounds)
        added = {
            name: await _measure(execute, _EACH.format(field), rounds)
            for name, field in _FIELDS.items()
        }
        series = fetch(laboratory.url, "SELECT 1 FROM series WHERE last_bucket IS NOT NULL")
        whole = await _measure(execute, _ANOMALIES, rounds)
        number = len((await execute(_ANOMALIES))["anomalies"])
    finally:
        await database.close()
    name = f"anomalies in {len(series)} × {HOURS:,} hours"
    costs = {each: (cpu - bare[0], held) for each, (cpu, held) in added.items()} | {name: whole}
    limits = dict.fromkeys(_FIELDS, 1.0) | {name: 150.0}
    figures = [
        Figure(each, f"≤ {limits[each]:g} ms of CPU", cpu, limits[each], unit="ms", at_most=True)
        for each, (cpu, _) in costs.items()
    ] + [
        Figure(name, "holds the loop ≤ 50 ms", whole[1], 50, unit="ms", at_most=True),
    ]
    rows = [[each, f"{cpu:.2f}", f"{held:.1f}"] for each, (cpu, held) in costs.items()]
    remark = (
        f"Medians of {rounds} executions in this process: CPU is its own, of all its threads, "
        f"beside that of the same query without the field ({bare[0]:.2f} ms with reading the "
        f"{HOURS:,} hours); anomalies with reading all of their prices. The loop is looked at each "
        f"{_TICK * 1e3:g} ms; the longest time that it was not back is the median's. {number:,} "
        "anomalies were found."
    )
    title = f"what is computed from {HOURS:,} hourly points"
    return Section(title, ("", "CPU ms", "loop held ms"), rows, figures, [remark])


async def _measure(execute: Execute, query: str, rounds: int) -> tuple[float, float]:
    """Milliseconds of CPU, and of the longest wait of the event loop: medians."""
    await execute(query)
    taken, held = [], []
    for _ in range(rounds):
        waits: list[float] = []
        watch = asyncio.create_task(_watch(waits))
        await asyncio.sleep(0)
        before = time.process_time()
        await execute(query)
        taken.append((time.process_time() - before) * 1e3)
        await asyncio.sleep(0)
        watch.cancel()
        held.append(max(waits, default=0.0) * 1e3)
    return median(taken), median(held)


async def _watch(waits: list[float]) -> None:
    """Note by how much each wake-up comes late."""
    while True:
        due = time.perf_counter() + _TICK
        await asyncio.sleep(_TICK)
        waits.append(time.perf_counter() - due)
