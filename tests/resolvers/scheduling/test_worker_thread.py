"""The worker thread runs one computation at a time, with bounded queues per caller."""

import asyncio
import threading

from resolvers.errors import UnavailableError
from resolvers.scheduling.worker_thread import WorkerThread


async def test_one_caller_takes_no_places_from_others() -> None:
    thread, gate = WorkerThread("test", 3, "Please try again."), asyncio.Event()
    done: list[str] = []

    async def work(caller: str) -> None:
        async with thread.place(caller):
            await gate.wait()
            done.append(caller)

    greedy = [asyncio.create_task(work("greedy")) for _ in range(20)]
    await asyncio.sleep(0)
    modest = [asyncio.create_task(work(f"modest {number}")) for number in range(5)]
    await asyncio.sleep(0)
    gate.set()
    answers = await asyncio.gather(*greedy, return_exceptions=True)
    await asyncio.gather(*modest)
    refused = [each for each in answers if isinstance(each, UnavailableError)]
    assert len(refused) == 20 - 2 - 3, "two are under way and three wait"
    # the first turns are those that had begun before the others came, and one that waited
    assert done.index("modest 4") < len(done) - 1


async def test_one_at_a_time_and_cancelled_work_never_starts() -> None:
    thread, gate, begun = WorkerThread("test", 3, ""), threading.Event(), list[str]()

    def work(name: str) -> str:
        begun.append(name)
        assert gate.wait(60)
        return name

    first = asyncio.create_task(thread.run(work, "first"))
    given_up = asyncio.create_task(thread.run(work, "cancelled"))
    last = asyncio.create_task(thread.run(work, "last"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert (await first, await last) == ("first", "last")
    assert begun == ["first", "last"]
