"""The most expensive operations that the limits admit: before execution, and next to clients."""

import asyncio
import contextlib
import statistics
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing import get_context
from time import thread_time

from graphql import GraphQLSyntaxError

from benchmarks import wire
from benchmarks.databases import HISTORY_DAYS, HOURS, last_hour
from benchmarks.expensive import UNKNOWN, expensive
from benchmarks.figures import Figure, Section
from benchmarks.hostility import ADDRESS
from benchmarks.laboratory import Laboratory
from benchmarks.load import quantile
from benchmarks.peers.catalog import COINGRAPH
from benchmarks.processes import send
from benchmarks.questions import Ask, graphql
from benchmarks.works.politeness import steady
from models.postgres.database import Database
from resolvers.data_extent import DataExtent, read_data_extent
from resolvers.errors import RequestError
from schema import build_schema
from schema.execution.operation import OperationRefusedError

_CLIENTS = (1, 4, 16)
_TITLE = "Clients next to the most expensive operations that the limits admit"
_HEADER = ("", "times", "before, ms", "clients", "answers", "others' median ms", "p99 ms", "max ms")
_MOST = 199
_TRIES = 5
_SCHEMA = build_schema()
_NEW = count()
_FIELDS = " ".join(f"b{number}: name" for number in range(50))


def run(laboratory: Laboratory) -> Section:
    """Repeat one operation after the other, each time as a new text."""
    seconds = 2.0 if laboratory.options.quick else 4.0
    since = last_hour(laboratory.url) - timedelta(hours=HOURS)
    rows, before, attacked = [], [], []
    kept = asyncio.run(_kept(laboratory.url))
    # the hostile clients run in another process, so that they slow down only the server
    with (
        COINGRAPH.start(laboratory.place()) as server,
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
    ):
        for name, text, times in admitted(server.url, since.isoformat()):
            took = reading(text, kept)
            before.append(took)
            for clients in _CLIENTS:
                hostile = pool.submit(attack, server.url, text, clients, seconds + 1)
                others = asyncio.run(steady(server.url, seconds, _small))
                said = hostile.result()
                attacked.append((clients, quantile(others, 0.99), name))
                rows.append(_row(name, times, took, clients, said, others))
    figures = [
        Figure(_TITLE, "before execution < 100 ms", max(before), 100, unit="ms", at_most=True)
    ]
    for clients in _CLIENTS:
        p99, name = max(found[1:] for found in attacked if found[0] == clients)
        target = f"p99 < 250 ms next to {clients} of them"
        figures.append(Figure(_TITLE, target, p99, 250, unit="ms", at_most=True, note=name))
    remark = (
        "Each is repeated in its operation as often as the limits admit, and comes from another "
        "address. Others ask for something small each 20 ms, whether the last one was answered or "
        "not: half from the cache, else a row, a coin's newest prices, or a row with a document "
        "that is read in a thread. `before` is the CPU of reading, validating and cost estimation, "
        "the median of five times."
    )
    return Section(_TITLE, _HEADER, rows, figures, [remark])


async def _kept(url: str) -> DataExtent:
    database = Database(url)
    try:
        return await read_data_extent(database, HISTORY_DAYS, datetime.now(UTC))
    finally:
        await database.close()


def admitted(url: str, since: str) -> Iterator[tuple[str, str, int]]:
    """Yield each operation, with as many repetitions as the limits admit, and their number."""
    for name, text in expensive(since).items():
        many = 0
        least, most = 1, _MOST
        while least <= most:
            middle = (least + most) // 2
            if _refused(url, text(middle)):
                most = middle - 1
            else:
                least, many = middle + 1, middle
        yield name, text(many), many
    for name, whole in UNKNOWN.items():
        yield name, whole, 1


def _refused(url: str, text: str) -> bool:
    return b"OPERATION_TOO_COMPLEX" in send(url, graphql(text)).content[:2_000]


def reading(text: str, kept: DataExtent) -> float:
    """Return the milliseconds of CPU until a new text can be executed or is refused."""
    taken = []
    for _ in range(_TRIES):
        begun = thread_time()
        with contextlib.suppress(GraphQLSyntaxError, RequestError, OperationRefusedError):
            operation = _SCHEMA.read(text).select(None)
            operation.costs.cost(None, {}, datetime.now(UTC), kept)
        taken.append((thread_time() - begun) * 1e3)
    return statistics.median(taken)


def attack(url: str, text: str, clients: int, seconds: float) -> Counter[str]:
    """Send an operation repeatedly. Returns counts of the outcomes."""
    return asyncio.run(_attack(url, text, clients, seconds))


async def _attack(url: str, text: str, clients: int, seconds: float) -> Counter[str]:
    said: Counter[str] = Counter()
    numbers = count()
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds

    async def client() -> None:
        connection = await wire.connect(url, ADDRESS)
        while loop.time() < until:
            answer = await connection.send(graphql(f"{text} #{next(numbers)}"))
            said[str(answer.status)] += 1
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return said


def _small(number: int) -> Ask:
    """Return a small request: half of them are cached, the others are new texts."""
    new = next(_NEW)
    texts = [
        f'{{ a{new}: coin(id: "bitcoin") {{ id name }} }}',
        f'{{ a{new}: latestPrices(coins: ["bitcoin"]) {{ price }} }}',
        f'{{ a{new}: coin(id: "bitcoin") {{ {_FIELDS} }} }}',  # long enough to be read in a thread
    ]
    return graphql(texts[number // 2 % 3] if number % 2 else "{ currencies { code } }")


def _row(
    name: str, times: int, took: float, clients: int, said: Counter[str], others: list[float]
) -> list[str]:
    answers = ", ".join(f"{status} × {number}" for status, number in said.items())
    shown = (quantile(others, 0.5), quantile(others, 0.99), others[-1])
    counts = [str(times), f"{took:.0f}", str(clients), answers]
    return [name, *counts, *(f"{each:.0f}" for each in shown)]
