"""Searches for anomalies wait for each other, so many of them."""

import asyncio
import threading

import pytest

from resolvers.anomalies import Searches
from resolvers.errors import UnavailableError


async def test_so_many_places_and_no_more() -> None:
    searches = Searches(2)
    refused = pytest.raises(UnavailableError, match="try again")
    with searches.place(), searches.place(), refused, searches.place():
        pass
    with searches.place():  # given back, also by the one that failed
        pass


async def test_one_at_a_time_and_none_that_nobody_waits_for() -> None:
    searches, gate, begun = Searches(3), threading.Event(), list[str]()

    def search(name: str) -> str:
        begun.append(name)
        assert gate.wait(60)
        return name

    first = asyncio.create_task(searches.run(search, "first"))
    given_up = asyncio.create_task(searches.run(search, "given up"))
    last = asyncio.create_task(searches.run(search, "last"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert (await first, await last) == ("first", "last")
    assert begun == ["first", "last"]
