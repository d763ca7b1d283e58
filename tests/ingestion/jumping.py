"""An event loop whose time jumps: hours pass in milliseconds."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ingestion.quota.throttle import Throttle

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits for somebody else")
        self.now += 1e-6 if ready or not timeout else timeout
        return ready


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


async def departures(
    throttle: Throttle, calls: int, latency: Callable[[], float] = lambda: 0.0
) -> list[float]:
    times = []

    async def call() -> None:
        async with throttle.slot():
            times.append(now())
            await asyncio.sleep(latency())

    await asyncio.gather(*(call() for _ in range(calls)))
    return times


def most_in_any_minute(times: list[float], window: float = 60.0) -> int:
    return max(sum(start <= time <= start + window for time in times) for start in times)
