"""The queries of docs/queries.md work as they stand, and answer in the shape that is shown."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Reader

PAGE = Path(__file__).resolve().parents[1] / "docs" / "queries.md"
BLOCKS = re.findall(r"```graphql\n(.*?)```(?:\s*```json\n(.*?)```)?", PAGE.read_text(), re.DOTALL)


def leaves(answer: Any) -> Any:
    """Yield the values at the ends of an answer; an empty list is one."""
    below = answer.values() if isinstance(answer, dict) else answer
    if not isinstance(answer, dict | list) or not answer:
        yield answer
    else:
        for each in below:
            yield from leaves(each)


def assert_shape(shown: Any, given: Any) -> None:
    if isinstance(shown, dict):
        assert shown.keys() == given.keys()
        for key, value in shown.items():
            assert_shape(value, given[key])
    elif isinstance(shown, list):
        assert isinstance(given, list)
        if shown:
            assert_shape(shown[0], given[0])
    elif given is not None:
        assert isinstance(given, float | int) == isinstance(shown, float | int)


@pytest.mark.parametrize(("query", "shown"), BLOCKS)
async def test_a_query_works(reader: Reader, query: str, shown: str) -> None:
    data = await reader.data(query)
    values = list(leaves(data))
    assert sum(value not in (None, []) for value in values) > 3
    if shown:
        assert_shape(json.loads(shown), {"data": data})


def test_all_queries_are_found() -> None:
    assert len(BLOCKS) == PAGE.read_text().count("```graphql") > 6
    assert sum(bool(shown) for _, shown in BLOCKS) == PAGE.read_text().count("```json")
