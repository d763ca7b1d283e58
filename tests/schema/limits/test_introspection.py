"""With introspection off, the schema is not told, nor guessed from errors."""

from dataclasses import replace
from typing import Any

import pytest

from schema import build_schema
from schema.limits import Limits, read_document, validate_document
from tests.schema.limits.mistakes import Mistake, mistakes, names_in, unavoidable

CLOSED = replace(Limits(), introspection=False)
MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("{ price }", {}),
    ("{ coins }", {}),
    ("{ coins { node { id } } }", {}),
    ("{ prices(coins: 1) { next } }", {}),
    ('{ prices(coin: "a", granularity: HOURS) { next } }', {}),
    ('{ coins(filter: {id: "a"}) { totalCount } }', {}),
    ("query ($x: Granularty) { __typename }", {}),
    ("{ ... on Quer { __typename } }", {}),
    ("{ __typename @skp(if: true) }", {}),
    ("query ($x: Granularity!) { prices(coin: 1, granularity: $x) { next } }", {"x": "HOURS"}),
    ("query ($x: CoinFilter) { coins(filter: $x) { totalCount } }", {"x": {"idss": ["a"]}}),
]


async def told(limits: Limits, text: str, variables: dict[str, Any]) -> str:
    result = await build_schema(limits).execute(text, variable_values=variables)
    assert result.errors
    return " ".join(error.message for error in result.errors)


@pytest.mark.parametrize(("text", "variables"), MISTAKES)
async def test_nothing_is_suggested(text: str, variables: dict[str, Any]) -> None:
    assert "Did you mean" not in await told(CLOSED, text, variables)


async def test_names_are_suggested_else() -> None:
    """So that the test before can fail."""
    each = [await told(Limits(), text, variables) for text, variables in MISTAKES]
    assert sum("Did you mean" in message for message in each) >= len(MISTAKES) - 2


def told_unasked(limits: Limits, among: list[Mistake]) -> dict[str, str]:
    """Give the names of the schema that errors tell and could keep, each with such an error."""
    ours, found = build_schema(limits), dict[str, str]()
    schema = ours._schema  # noqa: SLF001 - nothing is to be executed
    for mistake in among:
        document = read_document(mistake.text, limits)
        errors = validate_document(schema, document, limits)
        if not errors:
            built = ours.executor.build(schema, document, None, None, mistake.variables, None)
            errors = built if isinstance(built, list) else []
        for error in errors:
            for name in names_in(error.message) - mistake.words - unavoidable(mistake.words):
                found[name] = f"{mistake.text} {mistake.variables}: {error.message}"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("step", [10, pytest.param(1, marks=pytest.mark.endurance)])
async def test_errors_tell_no_name_that_they_need_not(step: int) -> None:
    """All kinds of mistakes about all names. Types of what was written are told, and what must be.

    As Apollo Server does it, and graphql-core where it hides suggestions.
    """
    every = list(mistakes())
    assert len(every) > 3_000
    assert told_unasked(CLOSED, every[::step]) == {}
    assert len(told_unasked(Limits(), every[::10])) > 50, "else the search would find nothing"


@pytest.mark.parametrize(
    "text",
    [
        "{ __schema { types { name } } }",
        '{ __type(name: "Coin") { name } }',
        "{ ...F } fragment F on Query { a: __schema { queryType { name } } }",
    ],
)
async def test_the_schema_is_not_told(text: str) -> None:
    assert "introspection has been disabled" in await told(CLOSED, text, {})
    assert not (await build_schema().execute(text)).errors


async def test_the_names_of_types_stay() -> None:
    result = await build_schema(CLOSED).execute("{ __typename }")
    assert result.data == {"__typename": "Query"}


@pytest.mark.parametrize("limits", [Limits(), CLOSED])
@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ('{ prices(coin: "a", granularity: "İ") { next } }', {}),
        ("query ($x: Granularity!) { prices(coin: 1, granularity: $x) { next } }", {"x": "İ"}),
        ("query ($x: CoinFilter) { coins(filter: $x) { totalCount } }", {"x": {"İds": ["a"]}}),
    ],
)
async def test_a_letter_that_is_two_in_lower_case_is_a_mistake_as_any(
    limits: Limits, text: str, variables: dict[str, Any]
) -> None:
    assert "index" not in await told(limits, text, variables)


async def test_lists_and_non_null_types_are_not_one_of() -> None:
    """Strawberry's own resolver of `isOneOf` fails at types that wrap others."""
    field = "fields { type { isOneOf kind ofType { isOneOf kind } } }"
    result = await build_schema().execute(f'{{ __type(name: "Query") {{ {field} }} }}')
    assert not result.errors
    assert result.data is not None
    kinds = [each["type"] for each in result.data["__type"]["fields"]]
    assert "NON_NULL" in {each["kind"] for each in kinds}
    assert all(each["isOneOf"] is None for each in kinds if each["kind"] == "NON_NULL")
