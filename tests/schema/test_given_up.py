"""What is given up while it waits for its turn leaves nothing behind."""

import asyncio
import gc
import warnings

import pytest
import strawberry

from resolvers import turns
from resolvers.turns import begin_operation
from schema.executor import ColumnarExecutor


@strawberry.type
class Thing:
    @strawberry.field
    async def small(self) -> int:
        return 1

    @strawberry.field
    async def broken(self) -> int:
        raise ValueError


@strawberry.type
class Query:
    @strawberry.field
    def things(self) -> list[Thing]:
        return [Thing() for _ in range(50)]


async def test_no_resolver_is_left_unawaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_SLICE", 0.0)
    monkeypatch.setattr(turns, "_FREE", 0.0)
    schema = strawberry.Schema(Query, execution_context_class=ColumnarExecutor)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        begin_operation()
        result = await schema.execute("{ things { a: small b: small broken } }")
        await asyncio.sleep(0)
        gc.collect()
    assert result.data is None
    assert [str(each.message) for each in told] == []
