"""What is done beside the event loop waits for each other, so many of them."""

import asyncio
import threading

import pytest

from resolvers.errors import UnavailableError
from resolvers.side_thread import SideThread


async def test_so_many_places_and_no_more() -> None:
    thread = SideThread("test", 2, "Please try again.")
    refused = pytest.raises(UnavailableError, match="try again")
    with thread.place(), thread.place(), refused, thread.place():
        pass
    with thread.place():  # given back, also by the one that failed
        pass


async def test_one_at_a_time_and_none_that_nobody_waits_for() -> None:
    thread, gate, begun = SideThread("test", 3, ""), threading.Event(), list[str]()

    def work(name: str) -> str:
        begun.append(name)
        assert gate.wait(60)
        return name

    first = asyncio.create_task(thread.run(work, "first"))
    given_up = asyncio.create_task(thread.run(work, "given up"))
    last = asyncio.create_task(thread.run(work, "last"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert (await first, await last) == ("first", "last")
    assert begun == ["first", "last"]
