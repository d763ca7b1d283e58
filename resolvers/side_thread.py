"""Work beside the event loop."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from resolvers.errors import UnavailableError

P = ParamSpec("P")
T = TypeVar("T")


class SideThread:
    """A thread that does one thing after the other, while the event loop answers others.

    At most `most` are under way or wait, each with what it needs.
    """

    def __init__(self, name: str, most: int, refusal: str) -> None:
        self._free = most
        self._refusal = refusal
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place. Raises UnavailableError where all are taken."""
        if not self._free:
            raise UnavailableError(self._refusal)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Do it when it is its turn; given up before, it does not begin."""
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._thread, partial(work, *arguments, **named))
