"""Without introspection, the schema is not revealed by errors either."""

from dataclasses import replace
from typing import Any

import pytest
from graphql import GraphQLSchema

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


async def messages_of(limits: Limits, text: str, variables: dict[str, Any]) -> str:
    result = await build_schema(limits).execute(text, variable_values=variables)
    assert result.errors
    return " ".join(error.message for error in result.errors)


@pytest.mark.parametrize(("text", "variables"), MISTAKES)
async def test_nothing_is_suggested(text: str, variables: dict[str, Any]) -> None:
    assert "Did you mean" not in await messages_of(CLOSED, text, variables)


async def test_names_are_suggested_with_introspection() -> None:
    """Shows that the test above can fail."""
    each = [await messages_of(Limits(), text, variables) for text, variables in MISTAKES]
    assert sum("Did you mean" in message for message in each) >= len(MISTAKES) - 2


def unnecessary_names(limits: Limits, among: list[Mistake]) -> dict[str, str]:
    """Return the unnecessary names in errors, each with such an error."""
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
async def test_errors_reveal_no_unnecessary_name(step: int) -> None:
    """All kinds of mistakes for all names. Types of valid names and required names may appear.

    Apollo Server behaves in the same way, and graphql-core if it hides suggestions.
    """
    every = list(mistakes())
    assert len(every) > 3_000
    assert unnecessary_names(CLOSED, every[::step]) == {}
    assert len(unnecessary_names(Limits(), every[::10])) > 50, "else the search would find nothing"


@pytest.mark.parametrize(
    "text",
    [
        "{ __schema { types { name } } }",
        '{ __type(name: "Coin") { name } }',
        "{ ...F } fragment F on Query { a: __schema { queryType { name } } }",
    ],
)
async def test_introspection_is_rejected(text: str) -> None:
    assert "introspection has been disabled" in await messages_of(CLOSED, text, {})
    assert not (await build_schema().execute(text)).errors


async def test_typename_is_allowed() -> None:
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
async def test_a_letter_with_a_longer_lower_case_gives_an_ordinary_error(
    limits: Limits, text: str, variables: dict[str, Any]
) -> None:
    assert "index" not in await messages_of(limits, text, variables)


async def test_lists_and_non_null_types_are_not_one_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strawberry's own resolver of `isOneOf` fails at types that wrap others.

    It is set in a type that all schemas of a process share, so another test may have set it.
    """
    fields = GraphQLSchema().type_map["__Type"].fields  # type: ignore[attr-defined]
    resolve = lambda found, _: getattr(found, "is_one_of", None)  # noqa: E731 - as graphql-core's
    monkeypatch.setattr(fields["isOneOf"], "resolve", resolve)
    field = "fields { type { isOneOf kind ofType { isOneOf kind } } }"
    result = await build_schema().execute(f'{{ __type(name: "Query") {{ {field} }} }}')
    assert not result.errors
    assert result.data is not None
    kinds = [each["type"] for each in result.data["__type"]["fields"]]
    assert "NON_NULL" in {each["kind"] for each in kinds}
    assert all(each["isOneOf"] is None for each in kinds if each["kind"] == "NON_NULL")
