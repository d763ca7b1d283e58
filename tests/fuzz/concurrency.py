"""Runs many cases concurrently: most of the time each waits for more of a response."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from tests.fuzz.budget import Case

_AT_ONCE = 24


async def crowd(cases: Iterator[Case], try_one: Callable[[Case], Awaitable[int]]) -> int:
    """Run all cases and return the number of requests. A failure names its case."""

    async def work() -> int:
        done = 0
        for case in cases:
            try:
                done += await try_one(case)
            except Exception as error:
                error.add_note(f"in case {case.name}")
                raise
        return done

    try:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(_AT_ONCE)]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return sum(worker.result() for worker in workers)
