"""How long a small request waits while another client asks for everything."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from benchmarks import load, wire
from benchmarks.databases import HOURS, fetch
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from benchmarks.load import Load, Target, quantile
from benchmarks.peers.catalog import COINGRAPH
from benchmarks.processes import send
from benchmarks.questions import Ask, graphql

_EVERY = 0.02  # seconds from one small request to the next
_LIMIT = 100
_RANGES = 1_000  # no answer can come from a cache
_SMALL = graphql("{ __typename }")


def run(laboratory: Laboratory) -> Section:
    seconds = max(4.0, laboratory.options.seconds * 2)
    asks, series = _everything(laboratory)
    title = f"`{{ __typename }}` while another client asks {series} series × {HOURS:,} points"
    with COINGRAPH.start(laboratory.place()) as server, ThreadPoolExecutor(1) as pool:
        answer = send(server.url, asks[0])
        refused = answer.is_error or b'"errors"' in answer.content[:200]
        target = Target.of(server.url, asks, laboratory.options.folder / "everything.lines")
        alone = asyncio.run(steady(server.url, seconds))
        big: Future[Load] = pool.submit(load.run, target, seconds + 2, 0, 1)
        with_load = asyncio.run(steady(server.url, seconds))
        counted = big.result()
    rows = [_row("alone", alone), _row("with load", with_load)]
    p99 = None if refused else quantile(with_load, 0.99)
    figure = Figure(title, "p99 < 100 ms", p99, _LIMIT, unit="ms", at_most=True)
    remark = (
        f"One small request each {_EVERY * 1e3:.0f} ms, whether the last one was answered or not, "
        f"so that a wait is counted for all that fall into it. Meanwhile {counted.requests} large "
        f"answers of {len(answer.content) / 1e6:.1f} MB, {counted.p50:.0f} ms each (median)."
    )
    remarks = [remark, f"The large query was refused: {answer.text[:300]}"][: 1 + refused]
    return Section(
        title, ("", "requests", "median ms", "p99 ms", "max ms"), rows, [figure], remarks
    )


def _everything(laboratory: Laboratory) -> tuple[list[Ask], int]:
    """All series in one query, over one range after the other, and how many series that is."""
    rows = fetch(
        laboratory.url,
        "SELECT coin_id, currency_code FROM series WHERE last_bucket IS NOT NULL ORDER BY id",
    )
    fields = " ".join(
        f's{number}: prices(coin: "{coin}", currency: "{currency}", from: $from, to: $to) '
        "{ points { timestamp price } }"
        for number, (coin, currency) in enumerate(rows)
    )
    query = f"query All($from: DateTime!, $to: DateTime!) {{ {fields} }}"
    parts = [laboratory.recent(number) for number in range(_RANGES)]
    asks = [
        graphql(query, **{"from": part.start.isoformat(), "to": part.end.isoformat()})
        for part in parts
    ]
    return asks, len(rows)


class AnswerError(Exception):
    """Somebody well-behaved was refused."""


async def steady(url: str, seconds: float, ask: Callable[[int], Ask] | None = None) -> list[float]:
    """Ask at a steady pace; rising milliseconds from when each was due to its answer.

    `ask` gives the request of each number; without it, all are the same. Raises AnswerError.
    """
    loop = asyncio.get_running_loop()
    idle: list[wire.Connection] = []
    latencies: list[float] = []

    async def one(due: float, small: Ask) -> None:
        connection = idle.pop() if idle else await wire.connect(url)
        answer = await connection.send(small)
        if b'"errors"' in answer.body[:100]:
            raise AnswerError(answer.body.decode())
        latencies.append((loop.time() - due) * 1e3)
        idle.append(connection)

    async with asyncio.TaskGroup() as group:
        start = loop.time()
        for number in range(round(seconds / _EVERY)):
            due = start + number * _EVERY
            await asyncio.sleep(max(0.0, due - loop.time()))
            group.create_task(one(due, ask(number) if ask else _SMALL))
    for connection in idle:
        connection.close()
    return sorted(latencies)


def _row(name: str, latencies: Sequence[float]) -> list[str]:
    shown = (quantile(latencies, 0.5), quantile(latencies, 0.99), latencies[-1])
    return [name, f"{len(latencies)}", *(f"{each:.1f}" for each in shown)]
