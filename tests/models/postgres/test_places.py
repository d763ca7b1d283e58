"""Places are given in order, never more than there are, and none is lost."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from models.postgres.places import Places

# Somebody comes, a holder leaves, a waiter gives up, there are fewer places.
STEPS = st.lists(st.sampled_from(["come", "leave", "give up", "shrink"]), max_size=60)


@given(st.integers(1, 4), STEPS)
def test_none_is_lost(most: int, steps: list[str]) -> None:
    asyncio.run(_play(most, steps))


async def _play(most: int, steps: list[str]) -> None:
    places = Places(most)
    asked: list[asyncio.Task[None]] = []
    for step in steps:
        held = [task for task in asked if task.done()]
        waiting = [task for task in asked if not task.done()]
        if step == "come":
            asked.append(asyncio.create_task(places.take()))
        elif step == "leave" and held:
            asked.remove(held[0])
            places.give_back()
        elif step == "give up" and waiting:
            waiting[0].cancel()
            await asyncio.gather(waiting[0], return_exceptions=True)
            asked.remove(waiting[0])
        elif step == "shrink":
            places.shrink_to(places.taken - 1)
        for _ in range(3):
            await asyncio.sleep(0)
        done = [task.done() for task in asked]
        assert done == sorted(done, reverse=True), "in order of arrival"
        assert places.taken == sum(done)
        assert places.crowded == (not all(done))
        assert all(done) or places.taken >= places.limit, "nobody waits for a place that is free"
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)


async def test_who_was_refused_is_next() -> None:
    places = Places(1)
    await places.take()
    late = asyncio.create_task(places.take())
    await asyncio.sleep(0)
    refused = asyncio.create_task(places.take(first=True))
    await asyncio.sleep(0)
    places.give_back()
    await refused
    assert not late.done()
    places.give_back()
    await late
