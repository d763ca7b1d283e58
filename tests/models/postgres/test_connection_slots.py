"""Connection slots are taken in order, never exceed the limit, and are never lost."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from models.postgres.connection_slots import ConnectionSlots

# Somebody comes, for a place or also for one with a connection; a holder leaves, or passes it on; a
# waiter gives up, maybe just as it is given a place; there are fewer places.
STEPS = st.lists(
    st.sampled_from(["come", "come for one", "leave", "pass on", "give up", "too late", "shrink"]),
    max_size=60,
)


@given(st.integers(1, 4), STEPS)
def test_none_is_lost(most: int, steps: list[str]) -> None:
    asyncio.run(_play(most, steps))


async def _play(most: int, steps: list[str]) -> None:
    places = ConnectionSlots[str](most)
    asked: list[asyncio.Task[str | None]] = []
    for step in steps:
        await _take(step, places, asked)
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


async def _take(
    step: str, places: ConnectionSlots[str], asked: list[asyncio.Task[str | None]]
) -> None:
    def pass_on(connection: str = "connection") -> None:
        assert connection == "connection"
        if not places.pass_on(connection):
            places.give_back()

    held = [task for task in asked if task.done()]
    waiting = [task for task in asked if not task.done()]
    if step.startswith("come"):
        connected = pass_on if step == "come for one" else None
        asked.append(asyncio.create_task(places.take(connected=connected)))
    elif step == "shrink":
        places.shrink_to(places.taken - 1)
    if held and step in {"leave", "pass on", "too late"}:
        asked.remove(held[0])
        places.give_back() if step == "leave" else pass_on()
    if waiting and step in {"give up", "too late"}:
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        asked.remove(waiting[0])


async def test_a_connection_is_passed_on_to_a_caller_that_accepts_one() -> None:
    places = ConnectionSlots[str](1)
    await places.take()
    assert not places.pass_on("nobody waits")
    reader = asyncio.create_task(places.take(connected=lambda _: None))
    writer = asyncio.create_task(places.take())
    await asyncio.sleep(0)
    assert places.pass_on("connection")
    assert await reader == "connection"
    assert not places.pass_on("connection"), "it takes none"
    places.give_back()
    assert await writer is None
    assert places.taken == 1


async def test_a_refused_caller_is_next() -> None:
    places = ConnectionSlots[str](1)
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
