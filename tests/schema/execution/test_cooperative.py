"""Large operations share the event loop, with unchanged results."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import strawberry

from models.prices.granularity import Granularity
from resolvers.scheduling import event_loop_turns
from schema.execution.columnar import ColumnarExecutor
from tests.schema.execution.test_columnar import points, schema_of

Execute = Callable[..., Any]


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns without time: every piece of work but the first one has to wait."""
    monkeypatch.setattr(event_loop_turns, "_SLICE", 0.0)
    monkeypatch.setattr(event_loop_turns, "_FREE", 0.0)


@strawberry.type
class Plain:
    """Fields and a list that no fast path takes."""

    @strawberry.field
    def at_once(self) -> int:
        return 1

    @strawberry.field
    async def awaited(self) -> int:
        return 1

    @strawberry.field
    def numbers(self) -> list[int]:
        return list(range(90))


async def turns_of_others(work: Any) -> tuple[Any, int]:
    """Return the result, and how many turns other tasks had meanwhile."""
    seen, done = 0, False

    async def others() -> None:
        nonlocal seen
        while not done:
            await asyncio.sleep(0)
            seen += 1

    others_running = asyncio.create_task(others())
    result = await work
    done = True
    await others_running
    return result, seen


@pytest.mark.usefixtures("short_turns")
async def test_each_long_list_runs_in_a_turn_of_its_own() -> None:
    schema = schema_of([points([1.5] * 2_160, Granularity.HOUR)], ColumnarExecutor)
    aliases = " ".join(f"a{number}: points {{ timestamp price }}" for number in range(90))
    result, seen = await turns_of_others(schema.execute(f"{{ {aliases} }}"))
    assert result.data is not None
    assert list(result.data) == [f"a{number}" for number in range(90)]
    assert [len(each) for each in result.data.values()] == [2_160] * 90
    assert seen >= 90


async def turns_of(text: str) -> int:
    schema = strawberry.Schema(Plain, execution_context_class=ColumnarExecutor)
    result, seen = await turns_of_others(schema.execute(text))
    assert not result.errors
    return seen


@pytest.mark.usefixtures("short_turns")
async def test_each_field_item_and_awaited_value_takes_a_turn() -> None:
    """Each of the methods of graphql-core's executor that are overridden is called by it."""
    fields = await turns_of(f"{{ {' '.join(f'a{n}: atOnce' for n in range(90))} }}")
    awaited = await turns_of(f"{{ {' '.join(f'a{n}: awaited' for n in range(90))} }}")
    assert fields >= 20
    assert awaited >= 1.5 * fields
    assert await turns_of("{ numbers }") >= 20


@pytest.mark.slow
@pytest.mark.parametrize("encoded", [True, False])
async def test_a_very_long_list_runs_in_several_turns(
    encoded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = [points([1.5, float("nan")] * 5_000, Granularity.DAY)]
    schema = schema_of(lists, ColumnarExecutor)
    text = f"{{ points {{ {' '.join(f'a{n}: price b{n}: timestamp' for n in range(50))} }} }}"
    whole = await schema.execute(text, context_value=SimpleNamespace(encoded=False))
    monkeypatch.setattr(event_loop_turns, "_SLICE", 0.0)
    monkeypatch.setattr(event_loop_turns, "_FREE", 0.0)
    parted, seen = await turns_of_others(
        schema.execute(text, context_value=SimpleNamespace(encoded=encoded))
    )
    assert seen >= (40 if encoded else 1), "a million values, of which 25,000 are written at once"
    assert orjson.loads(orjson.dumps(parted.data)) == whole.data


async def test_a_turn_ends_when_its_time_is_used_up() -> None:
    busy, other = event_loop_turns.EventLoopShare(), event_loop_turns.EventLoopShare()
    assert busy.has_room()
    while busy.has_room():  # it works
        pass
    assert other.has_room(), "what is short never waits"
    other.overtime = busy.overtime
    assert not other.has_room()
    await asyncio.sleep(0)
    assert other.has_room()


@pytest.mark.usefixtures("short_turns")
async def test_waiting_operations_are_served_in_rotation() -> None:
    order: list[str] = []

    async def work(share: event_loop_turns.EventLoopShare, name: str) -> None:
        await share.wait()
        order.append(name)

    large, small = event_loop_turns.EventLoopShare(), event_loop_turns.EventLoopShare()
    tasks = [asyncio.create_task(work(large, f"large {number}")) for number in range(40)]
    tasks.append(asyncio.create_task(work(small, "small")))
    tasks.append(asyncio.create_task(work(event_loop_turns.EventLoopShare(), "cancelled")))
    await asyncio.sleep(0)
    tasks[-1].cancel()
    await asyncio.gather(*tasks[:-1])
    assert order.index("small") < 4, "not behind all that the other has to do"
    assert sorted(order) == sorted([f"large {number}" for number in range(40)] + ["small"])


@pytest.mark.usefixtures("short_turns")
async def test_waiting_callers_are_served_in_rotation() -> None:
    order: list[str] = []

    async def work(caller: str) -> None:
        await event_loop_turns.EventLoopShare(caller).wait()
        order.append(caller)

    callers = ["greedy"] * 40 + ["one", "other"]
    await asyncio.gather(*map(work, callers))
    assert max(order.index("one"), order.index("other")) < 6, "not behind 40 operations of one"
    assert sorted(order) == sorted(callers)


async def test_short_documents_wait_when_the_turn_is_used_up() -> None:
    assert event_loop_turns.turn_has_room()
    while event_loop_turns.turn_has_room():  # something works
        pass
    await asyncio.sleep(0)
    assert event_loop_turns.turn_has_room()


@pytest.mark.usefixtures("short_turns")
async def test_work_outside_of_operations_yields_too() -> None:
    _, seen = await turns_of_others(
        asyncio.gather(*(event_loop_turns.yield_to_event_loop() for _ in range(3)))
    )
    assert seen >= 1
