"""Cancelled operations leave no coroutine behind."""

import asyncio
import gc
import warnings

import pytest
import strawberry

from resolvers.scheduling import event_loop_turns
from resolvers.scheduling.event_loop_turns import begin_operation
from schema.execution.columnar import ColumnarExecutor


@strawberry.type
class Thing:
    @strawberry.field
    async def small(self) -> int:
        return 1

    @strawberry.field
    async def slow(self) -> int:
        await asyncio.sleep(0.01)
        return 1

    @strawberry.field
    async def broken(self) -> int:
        raise ValueError

    @strawberry.field
    async def soon_broken(self) -> int:
        await asyncio.sleep(0)
        raise ValueError

    @strawberry.field
    def broken_at_once(self) -> int:
        raise ValueError

    @strawberry.field
    def things(self) -> list["Thing"]:
        return [Thing() for _ in range(8)]

    @strawberry.field
    async def later(self) -> list["Thing"]:
        return [Thing() for _ in range(8)]


LEAVES = ["small", "slow", "broken", "soonBroken", "brokenAtOnce"]
BRANCHES = [
    *("things { a: small b: small }", "later { a: small b: small broken }"),
    *("things { broken small }", "later { things { small } later { soonBroken small } }"),
]
TEXTS = [
    *("{ things { a: small b: small broken } }", "{ small slow brokenAtOnce }"),
    *(f"{{ {branch} {leaf} slow }}" for branch in BRANCHES for leaf in LEAVES),
    *(f"{{ slow {leaf} {branch} later {{ small }} }}" for branch in BRANCHES for leaf in LEAVES),
]
# Of how much work an operation does at once: as the server runs, and none.
SLICES = pytest.mark.parametrize("seconds", [None, 0.0])


def schema_in_slices(monkeypatch: pytest.MonkeyPatch, seconds: float | None) -> strawberry.Schema:
    if seconds is not None:
        monkeypatch.setattr(event_loop_turns, "_SLICE", seconds)
        monkeypatch.setattr(event_loop_turns, "_FREE", seconds)
    begin_operation()
    return strawberry.Schema(Thing, execution_context_class=ColumnarExecutor)


@pytest.mark.slow
@SLICES
async def test_no_coroutine_is_left_by_an_error(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    schema = schema_in_slices(monkeypatch, seconds)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for text in TEXTS:
            result = await schema.execute(text)
            assert bool(result.errors) == ("roken" in text)
            del result  # its errors have tracebacks, which hold what is left
            await asyncio.sleep(0)
            assert [str(each.message) for each in warned] == [], text
        gc.collect()
    assert [str(each.message) for each in warned] == []


@pytest.mark.slow
@SLICES
async def test_no_coroutine_is_left_by_a_cancellation(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    """At each step of the event loop, as when the client disconnects."""
    schema = schema_in_slices(monkeypatch, seconds)
    text = "{ slow things { small later { small slow } } later { small things { small } } }"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for steps in range(25):
            begin_operation()
            task = asyncio.create_task(schema.execute(text))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0)
            del task
        gc.collect()
    assert [str(each.message) for each in warned] == []
