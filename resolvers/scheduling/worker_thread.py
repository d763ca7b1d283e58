"""A thread for computations that would block the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ParamSpec, TypeVar

from resolvers.scheduling.fair_queue import FairQueue

P = ParamSpec("P")
T = TypeVar("T")

_AT_ONCE = 2  # one computes in the thread, one prepares its input


class WorkerThread:
    """A single thread that runs one computation at a time.

    Two callers are admitted at once: one computes while the other prepares its input. The others
    wait in a FairQueue, at most `most` places for each caller.
    """

    def __init__(self, name: str, most: int, refusal: str) -> None:
        self.places = FairQueue(_AT_ONCE, most, refusal)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def place(self, caller: str) -> AbstractAsyncContextManager[None]:
        """Wait for a place, and hold it during the block.

        Raises UnavailableError with the message `refusal` if too many places wait.
        """
        return self.places.place(caller, 1)

    async def run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Run `work` in the thread and return its result.

        If the caller is cancelled before `work` starts, it never starts.
        """
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._thread, partial(work, *arguments, **named))
