"""The fair queue serves callers in rotation and leaks no places."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.errors import UnavailableError
from resolvers.scheduling.fair_queue import FairQueue


class Works:
    """Work that lasts until it is ended; `begun` lists what has begun, in order."""

    def __init__(self, queue: FairQueue) -> None:
        self._queue = queue
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    def start(self, name: str, caller: str, size: int = 1) -> asyncio.Task[None]:
        async def work() -> None:
            async with self._queue.place(caller, size):
                self.begun.append(name)
                await self._ends[name].wait()

        self._ends[name] = asyncio.Event()
        return asyncio.create_task(work())

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_are_served_in_rotation() -> None:
    works = Works(FairQueue(1, 10, "no"))
    tasks = [works.start(f"greedy {number}", "greedy") for number in range(4)]
    await settle()
    tasks.append(works.start("modest", "modest"))
    await settle()
    for name in ("greedy 0", "modest", "greedy 1", "greedy 2", "greedy 3"):
        assert works.begun[-1] == name
        await works.end(name)
    await asyncio.gather(*tasks)


async def test_sizes_fit_and_an_oversized_place_runs_alone() -> None:
    works = Works(FairQueue(10, 10, "no"))
    sizes = {"six": 6, "four": 4, "one": 1, "huge": 99, "last": 1}
    tasks = [works.start(name, name, size) for name, size in sizes.items()]
    await settle()
    assert works.begun == ["six", "four"]
    await works.end("six")
    assert works.begun == ["six", "four", "one"], "what is behind the huge one waits for it"
    await works.end("four")
    await works.end("one")
    assert works.begun[3:] == ["huge"]
    await works.end("huge")
    await works.end("last")
    await asyncio.gather(*tasks)


async def test_waiting_places_of_one_caller_are_limited() -> None:
    works = Works(FairQueue(1, 2, "Too many."))
    tasks = [works.start(str(number), "one") for number in range(3)]
    await settle()
    with pytest.raises(UnavailableError, match="Too many"):
        await works.start("too many", "one")
    tasks.append(works.start("another's", "other"))
    for name in ("0", "another's", "1", "2"):
        await settle()
        assert works.begun[-1] == name
        await works.end(name)
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("when", ["while it waits", "as it is admitted"])
async def test_a_cancelled_caller_does_not_block_others(when: str) -> None:
    works = Works(FairQueue(1, 10, "no"))
    first, given_up, last = (works.start(name, name) for name in ("first", "cancelled", "last"))
    await settle()
    if when == "while it waits":
        given_up.cancel()
        await works.end("first")
    else:
        first.cancel()
        await asyncio.sleep(0)  # it leaves, and lets the next one in
        given_up.cancel()
    await settle()
    assert works.begun == ["first", "last"]
    await works.end("last")
    await asyncio.gather(first, given_up, last, return_exceptions=True)


async def test_an_idle_queue_admits_at_once() -> None:
    works = Works(FairQueue(1, 1, "no"))
    for number in range(3):
        task = works.start(str(number), "one")
        await works.end(str(number))
        assert task.done()


async def test_a_full_queue_drops_the_last_place_of_the_largest_caller() -> None:
    queue = FairQueue(1, 3, "Too many.", most_in_all=4)
    works = Works(queue)
    tasks = {"first": works.start("first", "first")}
    for name in ("a 1", "a 2", "a 3", "b 1"):
        tasks[name] = works.start(name, name[0])
    await settle()
    assert len(queue) == 4
    tasks["c 1"] = works.start("c 1", "c")
    await settle()
    assert len(queue) == 4
    with pytest.raises(UnavailableError, match="Too many"):
        await tasks.pop("a 3")
    tasks["d 1"] = works.start("d 1", "d")
    await settle()
    with pytest.raises(UnavailableError, match="Too many"):
        await tasks.pop("a 2")
    with pytest.raises(UnavailableError, match="Too many"):
        await works.start("e 1", "e")  # now all have one
    for name in ("first", "a 1", "b 1", "c 1", "d 1"):
        assert works.begun[-1] == name
        await works.end(name)
    await asyncio.gather(*tasks.values())
    assert not len(queue)


async def test_a_cancelled_place_admits_others_at_once() -> None:
    """Including smaller ones behind it."""
    queue = FairQueue(10, 1, "no", most_in_all=2)
    works = Works(queue)
    tasks = [works.start("first", "first", 6)]
    large = works.start("large", "large", 9)
    tasks.append(works.start("small", "small", 4))
    await settle()
    assert works.begun == ["first"]
    large.cancel()
    await settle()
    assert works.begun == ["first", "small"]
    assert not len(queue)
    for name in ("first", "small"):
        await works.end(name)
    await asyncio.gather(*tasks)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12), st.sampled_from("bec")), max_size=60)
)
def test_any_sequence_of_events_keeps_the_bounds(
    steps: list[tuple[int, int, str]],
) -> None:
    """The bounds hold at each step, and the room is free in the end."""

    async def run() -> None:
        queue = FairQueue(10, 3, "no", most_in_all=5)
        works = Works(queue)
        tasks: dict[str, asyncio.Task[None]] = {}
        for number, (caller, size, step) in enumerate(steps):
            begun = [name for name in works.begun if not tasks[name].done()]
            if step == "b":
                tasks[f"{number}"] = works.start(f"{number}", f"{caller}", size)
            elif step == "e" and begun:
                await works.end(begun[caller % len(begun)])
            elif waiting := [name for name in tasks if name not in works.begun]:
                tasks[waiting[caller % len(waiting)]].cancel()
            await settle()
            assert len(queue) <= 5
        while begun := [name for name in works.begun if not tasks[name].done()]:
            await works.end(begun[0])
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert not len(queue)
        async with queue.place("last", 10):
            pass

    asyncio.run(run())
