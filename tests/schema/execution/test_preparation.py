"""An operation is prepared once for each document, however often and by how many it is sent."""

import asyncio
from typing import Any

import pytest
from graphql import OperationType

from schema import build_schema
from schema.execution.operation import OperationRefusedError
from schema.execution.schema import LimitedSchema
from schema.limits import read_document

LENGTHS = {"short": 0, "middling": 600, "long": 2_000, "uncached": 12_000}


def text_of(length: int) -> str:
    return "{ __typename } #" + "x" * length


@pytest.fixture
def schema() -> LimitedSchema:
    return build_schema()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were parsed."""
    texts: list[str] = []

    def noting(text: str, *more: Any) -> Any:
        texts.append(text)
        return read_document(text, *more)

    monkeypatch.setattr("schema.execution.schema.read_document", noting)
    return texts


@pytest.mark.parametrize("length", LENGTHS.values(), ids=LENGTHS)
async def test_equal_documents_at_once_are_parsed_once(
    schema: LimitedSchema, parsed: list[str], length: int
) -> None:
    """Also more of them than one caller may have waiting."""
    text = text_of(length)
    prepared = await asyncio.gather(*(schema.prepare(text, caller="one") for _ in range(100)))
    assert parsed == [text]
    assert len({id(each) for each in prepared}) == 1


@pytest.mark.parametrize("length", [0, 600, 2_000])
async def test_a_document_is_parsed_once_while_it_is_cached(
    schema: LimitedSchema, parsed: list[str], length: int
) -> None:
    text = text_of(length)
    for _ in range(3):
        await schema.prepare(text)
    assert parsed == [text]


async def test_each_operation_of_a_document_knows_its_kind(schema: LimitedSchema) -> None:
    text = """
        query subscription { __typename }  # mutation
        mutation query { refreshPrices { started } }
        subscription mutation { priceUpdates { revision } }
    """
    kinds = {name: (await schema.prepare(text, name)).kind for name in ("subscription", "query")}
    assert kinds == {"subscription": OperationType.QUERY, "query": OperationType.MUTATION}
    assert (await schema.prepare(text, "mutation")).kind is OperationType.SUBSCRIPTION
    for name in (None, "", "other"):
        with pytest.raises(OperationRefusedError):
            await schema.prepare(text, name)


async def test_a_caller_with_too_many_operations_spoils_none_of_another(
    schema: LimitedSchema,
) -> None:
    """Both send the same text; only the one whose other documents wait is refused."""
    async with schema._readings.place("somebody", 1):  # noqa: SLF001 - so that all wait
        waiting = [
            asyncio.create_task(schema.prepare(text_of(2_000 + number), caller="greedy"))
            for number in range(32)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        text = text_of(3_000)
        greedy = asyncio.create_task(schema.prepare(text, caller="greedy"))
        honest = asyncio.create_task(schema.prepare(text, caller="honest"))
        with pytest.raises(OperationRefusedError, match="waiting"):
            await greedy
        assert not honest.done()
    assert (await honest).kind is OperationType.QUERY
    await asyncio.gather(*waiting)


async def test_a_caller_that_leaves_spoils_none_of_another(
    schema: LimitedSchema, parsed: list[str]
) -> None:
    text = text_of(2_000)
    first, second = (asyncio.create_task(schema.prepare(text)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).text == text
    assert parsed == [text]
