"""Well-behaved clients: each asks at a calm pace, over one connection, and waits for its answer."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from benchmarks import wire
from benchmarks.questions import Ask

CLIENTS = 20
_EVERY = 0.2  # seconds
_TIMEOUT = 10.0
_OK = 200


class Behaved:
    """What they were answered: milliseconds for each request, and what went wrong how often."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.errors: Counter[str] = Counter()


async def behave(url: str, asks: Sequence[Ask], seconds: float) -> Behaved:
    """Let all of them send requests for `seconds`. Each begins with another one of `asks`."""
    behaved = Behaved()
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            turned = [*asks[number % len(asks) :], *asks[: number % len(asks)]]
            group.create_task(_client(url, turned, seconds, behaved))
    return behaved


async def _client(url: str, asks: list[Ask], seconds: float, behaved: Behaved) -> None:
    loop = asyncio.get_running_loop()
    connection: wire.Connection | None = None
    begun = loop.time()
    for number in range(int(seconds / _EVERY)):
        if loop.time() > begun + seconds:
            break
        await asyncio.sleep(max(0.0, begun + number * _EVERY - loop.time()))
        asked = loop.time()
        try:
            async with asyncio.timeout(_TIMEOUT):
                connection = connection or await wire.connect(url)
                answer = await connection.send(asks[number % len(asks)])
        except (OSError, TimeoutError) as error:
            behaved.errors[str(error) or type(error).__name__] += 1
            behaved.latencies.append((loop.time() - asked) * 1e3)
            if connection is not None:
                connection.close()
            connection = None
            continue
        behaved.latencies.append((loop.time() - asked) * 1e3)
        if answer.status != _OK or b'"errors"' in answer.body[:200]:
            behaved.errors[f"{answer.status} {bytes(answer.body[:80])!r}"] += 1
    if connection is not None:
        connection.close()
