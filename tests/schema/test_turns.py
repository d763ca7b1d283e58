"""Long lists leave turns of the event loop to others."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson

from models.granularity import Granularity
from schema.executor import ColumnarExecutor
from schema.turns import turn_has_room
from tests.schema.test_executor import points, schema_of


async def test_many_long_lists_take_many_turns() -> None:
    schema = schema_of([points([1.5] * 2_160, Granularity.HOUR)], ColumnarExecutor)
    aliases = " ".join(f"a{number}: points {{ timestamp price }}" for number in range(90))
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(others())
    result = await schema.execute(f"{{ {aliases} }}")
    done = True
    await beside
    assert result.data is not None
    assert [len(each) for each in result.data.values()] == [2_160] * 90
    assert turns >= 90 // 9, "nine lists have room in one turn"


async def test_a_turn_has_room_for_one_list_of_any_length() -> None:
    assert turn_has_room(10**9)
    assert not turn_has_room(1)
    await asyncio.sleep(0)
    assert turn_has_room(20_000)
    assert not turn_has_room(1)


async def test_aliases_take_a_turn_as_more_objects_do() -> None:
    asked: list[int] = []

    class Counting(ColumnarExecutor):
        def _in_turn(self, complete: Callable[[], Any], length: int) -> Any:
            asked.append(length)
            return super()._in_turn(complete, length)

    schema = schema_of([points([1.5] * 2_160, Granularity.HOUR)], Counting)
    aliases = " ".join(f"a{number}: price" for number in range(120))
    await schema.execute(f"{{ points {{ {aliases} }} }}")
    await schema.execute("{ points { price timestamp } }")
    assert asked == [10 * 2_160, 2_160]


async def test_one_list_of_very_many_values_takes_several_turns() -> None:
    lists = [points([1.5, float("nan")] * 5_000, Granularity.DAY)]
    schema = schema_of(lists, ColumnarExecutor)
    text = f"{{ points {{ {' '.join(f'a{n}: price b{n}: timestamp' for n in range(50))} }} }}"
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(others())
    parted = await schema.execute(text, context_value=SimpleNamespace(encoded=True))
    done = True
    await beside
    assert turns >= 10, "a million values, of which a turn takes 100,000"
    whole = await schema.execute(text, context_value=SimpleNamespace(encoded=False))
    assert orjson.loads(orjson.dumps(parted.data)) == whole.data
