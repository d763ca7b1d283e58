"""Work beside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ParamSpec, TypeVar

from resolvers.scheduling.fair_queue import FairQueue

P = ParamSpec("P")
T = TypeVar("T")

_AT_ONCE = 2  # one is in the thread, and one gets ready for it


class SideThread:
    """A thread that does one thing after the other, while the event loop answers others.

    Two are under way, each with what it needs. Callers take turns at that, and of one caller
    `most` wait.
    """

    def __init__(self, name: str, most: int, refusal: str) -> None:
        self.places = FairQueue(_AT_ONCE, most, refusal)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def place(self, caller: str) -> AbstractAsyncContextManager[None]:
        """Do the block when it is its turn. Raises UnavailableError where too much waits."""
        return self.places.place(caller, 1)

    async def run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Do it when it is its turn; given up before, it does not begin."""
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._thread, partial(work, *arguments, **named))
