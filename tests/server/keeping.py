"""What the tests of the response cache by itself put into it."""

import asyncio
from datetime import UTC, datetime

from resolvers.cache_dependencies import CacheDependencies
from server.graphql.response import Reply
from server.graphql.response_cache import MISS, AnswerCache, Key

ROOM = 1_000_000


def key(name: str) -> Key:
    return (name, None, b"")


def reply(*series: int, size: int = 100, ok: bool = True, **more: object) -> Reply:
    """An answer made of these series; `relative`, `until`, `uncacheable` set its dependencies."""
    dependencies = CacheDependencies()
    dependencies.add_series(series)
    for name, value in more.items():
        setattr(dependencies, name, value)
    status = 200 if ok else 400
    return Reply(b"x" * size, status, dependencies, moment=datetime.now(UTC).timestamp(), ok=ok)


async def fill(cache: AnswerCache, name: str, answer: Reply) -> None:
    async def compute() -> Reply:
        return answer

    assert await cache.compute(key(name), compute) == (answer, MISS)


class Gate:
    """A computation that waits to be let through, and counts how often it began."""

    def __init__(self, answer: Reply) -> None:
        self.answer = answer
        self.begun = 0
        self.open = asyncio.Event()

    async def compute(self) -> Reply:
        self.begun += 1
        await self.open.wait()
        return self.answer


async def start(*tasks: asyncio.Task[tuple[Reply, bytes]]) -> None:
    """Let these tasks run until each waits for something."""
    for _ in range(3 * len(tasks) + 3):
        await asyncio.sleep(0)


def ask(cache: AnswerCache, gate: Gate) -> asyncio.Task[tuple[Reply, bytes]]:
    return asyncio.create_task(cache.compute(key("one"), gate.compute))
