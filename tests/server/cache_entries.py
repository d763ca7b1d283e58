"""Responses and computations for the tests of the response cache."""

import asyncio
from datetime import UTC, datetime

from resolvers.cache_dependencies import CacheDependencies
from server.graphql.response import EncodedResponse
from server.graphql.response_cache import MISS, Key, ResponseCache

ROOM = 1_000_000


def key(name: str) -> Key:
    return (name, None, b"")


def encoded(*series: int, size: int = 100, ok: bool = True, **more: object) -> EncodedResponse:
    """Make a response that depends on these series; `more` sets attributes of its dependencies."""
    dependencies = CacheDependencies()
    dependencies.add_series(series)
    for name, value in more.items():
        setattr(dependencies, name, value)
    status = 200 if ok else 400
    return EncodedResponse(
        b"x" * size, status, dependencies, moment=datetime.now(UTC).timestamp(), ok=ok
    )


async def fill(cache: ResponseCache, name: str, answer: EncodedResponse) -> None:
    async def compute() -> EncodedResponse:
        return answer

    assert await cache.compute(key(name), compute) == (answer, MISS)


class Gate:
    """A computation that waits for `open` and counts how often it began."""

    def __init__(self, answer: EncodedResponse) -> None:
        self.answer = answer
        self.begun = 0
        self.open = asyncio.Event()

    async def compute(self) -> EncodedResponse:
        self.begun += 1
        await self.open.wait()
        return self.answer


async def start(*tasks: asyncio.Task[tuple[EncodedResponse, bytes]]) -> None:
    """Run these tasks until each waits."""
    for _ in range(3 * len(tasks) + 3):
        await asyncio.sleep(0)


def ask(cache: ResponseCache, gate: Gate) -> asyncio.Task[tuple[EncodedResponse, bytes]]:
    return asyncio.create_task(cache.compute(key("one"), gate.compute))
