"""Makes graphql-core cancel only tasks that have started.

When a field fails, graphql-core cancels its siblings. A task that is cancelled before its first
step never runs its coroutine. So it never awaits the coroutines that this one holds, such as a
resolver's, and Python warns of each one that was never awaited (seen in graphql-core 3.3.2).
"""

import asyncio
from collections.abc import Awaitable
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from typing import Any, TypeVar

from graphql.execution import executor

T = TypeVar("T")


class _BegunTask(asyncio.Task[T]):
    """A task that always takes its first step, even if it is cancelled before."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401 - asyncio's own
        coroutine = self.get_coro()
        if iscoroutine(coroutine) and getcoroutinestate(coroutine) == CORO_CREATED:
            # The event loop keeps the order: the first step was scheduled before this.
            self.get_loop().call_soon(super().cancel, msg)
            return True
        return super().cancel(msg)


async def gather_with_cancel(*awaitables: Awaitable[Any]) -> list[Any]:
    """Await all, as graphql-core's function of the same name.

    If one fails, cancel the others and wait for them.
    """
    loop = asyncio.get_running_loop()
    futures = [
        _BegunTask(each, loop=loop) if iscoroutine(each) else asyncio.ensure_future(each)
        for each in awaitables
    ]
    try:
        return await asyncio.gather(*futures)
    except Exception:
        for future in futures:
            future.cancel()
        await asyncio.gather(*futures, return_exceptions=True)
        raise


def install() -> None:
    """Replace graphql-core's function in its executor."""
    executor.gather_with_cancel = gather_with_cancel  # type: ignore[attr-defined] # the module imports it
