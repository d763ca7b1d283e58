"""Each limit is inclusive, and its error is helpful."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from graphql import get_introspection_query
from strawberry.types import ExecutionResult

from resolvers.errors import TooComplexError
from schema import build_schema
from schema.errors import answer_of
from schema.limits import MOST_ERRORS, Limits
from tests.test_queries import BLOCKS

DEFAULT = Limits()
EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "web" / "examples").glob("*.graphql"))


def nested(count: int) -> str:
    """Return a number nested in `count` lists."""
    return "[" * count + "1" + "]" * count


def deep(count: int) -> str:
    return "{" + "currencies{" * (count - 1) + "code" + "}" * count


def fragments(count: int) -> str:
    spreads = " ".join(f"...F{n}" for n in range(count))
    return f"{{{spreads}}}" + "".join(f"fragment F{n} on Query{{__typename}}" for n in range(count))


def variables(count: int) -> str:
    names = [f"$v{n}" for n in range(count)]
    fields_of = " ".join(f"a{n}:coins(first:{name}){{totalCount}}" for n, name in enumerate(names))
    return f"query({' '.join(f'{name}:Int!' for name in names)}){{{fields_of}}}"


DOCUMENTS: dict[str, Callable[[int], str]] = {  # one that measures so much, and nothing else more
    "max_document": lambda n: "{__typename}".ljust(n, "#"),
    "max_tokens": lambda n: "{currencies{" + "code " * (n - 5) + "}}",
    "max_depth": deep,
    "max_fields": lambda n: "{currencies{" + "code " * (n - 1) + "}}",
    "max_aliases": lambda n: "{currencies{" + " ".join(f"a{k}:code" for k in range(n)) + "}}",
    "max_root_fields": lambda n: "{" + " ".join(f"a{k}:__typename" for k in range(n)) + "}",
    "max_directives": lambda n: "{currencies{" + "code @skip(if:false) " * n + "}}",
    "max_directives_each": lambda n: "{__typename " + "@skip(if:false) " * n + "}",
    "max_operations": lambda n: " ".join(f"query A{k}{{__typename}}" for k in range(n)),
    "max_fragments": fragments,
    "max_variables": variables,
    "max_list": lambda n: "{latestPrices(coins:[" + '"a" ' * n + "]){price}}",
    "max_input_depth": lambda n: f"{{latestPrices(coins:{nested(n)}){{price}}}}",
    "max_input_values": lambda n: (
        "{" + " ".join(f'a{k}:coin(id:"{k}"){{id}}' for k in range(n)) + "}"
    ),
}
# small where the default would run into another limit first
SMALL: dict[str, dict[str, Any]] = {
    name: {name: 60 if name == "max_tokens" else 6}
    for name in DOCUMENTS
    if name not in {"max_document", "max_root_fields"}
}


async def run(limits: Limits, text: str, **more: Any) -> ExecutionResult:
    result: ExecutionResult = await build_schema(limits).execute(text, **more)
    return result


def refusals(result: ExecutionResult) -> dict[str, str]:
    """Return the exceeded limits, each with its message."""
    causes = [error.original_error for error in result.errors or ()]
    return {cause.limit: str(cause) for cause in causes if isinstance(cause, TooComplexError)}


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_document_limits_are_inclusive(name: str) -> None:
    limits = replace(DEFAULT, **SMALL.get(name, {}))
    most = getattr(limits, name)
    assert refusals(await run(limits, DOCUMENTS[name](most))) == {}
    result = await run(limits, DOCUMENTS[name](most + 1))
    messages = refusals(result)
    assert messages.keys() == {name.upper()}
    message = messages[name.upper()]
    found = "more than" if name == "max_tokens" else f"{most + 1:,}"
    assert all(word in message for word in (found, f"{name.upper()} allows {most:,}", ": "))
    answer = answer_of(result, "")
    assert answer.status == 400
    assert answer.body["errors"][0]["extensions"] == {
        "code": "OPERATION_TOO_COMPLEX",
        "limit": name.upper(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", DOCUMENTS)
async def test_the_default_limit_rejects_one_more(name: str) -> None:
    """Usually another limit, of tokens or root fields, is exceeded, too."""
    first = {"max_tokens", "max_document"} - {name}  # those that are looked at before others
    wide: dict[str, Any] = dict.fromkeys(first, 10**9)
    limits = replace(DEFAULT, **wide)
    assert name.upper() in refusals(await run(limits, DOCUMENTS[name](getattr(limits, name) + 1)))


def values_of(name: str, count: int) -> dict[str, Any]:
    deepest: Any = 1
    for _ in range(count):
        deepest = [deepest]
    values: dict[str, dict[str, Any]] = {
        "max_variables": {f"v{n}": 1 for n in range(count)},
        "max_list": {"v": [1] * count},
        "max_input_depth": {"v": deepest},
        "max_input_values": {f"v{n}": 1 for n in range(count)},
    }
    return values[name]


@pytest.mark.parametrize(
    "name", ["max_variables", "max_list", "max_input_depth", "max_input_values"]
)
async def test_value_limits_are_inclusive(name: str) -> None:
    bound: dict[str, Any] = {name: 5}
    limits = replace(DEFAULT, **bound)
    assert not (await run(limits, "{__typename}", variable_values=values_of(name, 5))).errors
    messages = refusals(await run(limits, "{__typename}", variable_values=values_of(name, 6)))
    assert messages.keys() == {name.upper()}
    assert "allows 5" in messages[name.upper()]


async def test_comparisons_of_overlapping_fields_are_limited() -> None:
    """graphql-core counts two per pair: 4 fields of one name have 6 pairs."""
    text = "{" + "__typename " * 4 + "}"
    assert not (await run(replace(DEFAULT, max_overlaps=12), text)).errors
    messages = refusals(await run(replace(DEFAULT, max_overlaps=11), text))
    assert messages.keys() == {"MAX_OVERLAPS"}
    assert "11 steps" in messages["MAX_OVERLAPS"]


@pytest.mark.parametrize(
    "text",
    [
        "{" + "refreshRuns{nodes{items{error}}}" * 99 + "}",
        fragments(100),
        "{" + "coins{nodes{id name latest{price}}}" * 99 + "}",
    ],
)
async def test_slow_validations_are_cut_short(text: str) -> None:
    assert "MAX_OVERLAPS" in refusals(await run(DEFAULT, text))


async def test_a_fragment_bomb_gives_an_error_for_each_limit() -> None:
    chain = "".join(f"fragment F{n} on Query{{...F{n + 1} ...F{n + 1}}}" for n in range(30))
    text = "{...F0}" + chain + "fragment F30 on Query{a:__typename @skip(if:false)}"
    messages = refusals(await run(DEFAULT, text))
    assert messages.keys() == {"MAX_FIELDS", "MAX_ALIASES", "MAX_ROOT_FIELDS", "MAX_DIRECTIVES"}
    assert "1,000,000,000 fields" in messages["MAX_FIELDS"]


async def test_a_cycle_is_graphqls_own_error() -> None:
    result = await run(DEFAULT, "{...F} fragment F on Query{...G} fragment G on Query{...F}")
    assert "Cannot spread fragment" in str(result.errors)


@pytest.mark.parametrize(
    "text",
    [
        get_introspection_query(
            specified_by_url=True,
            directive_is_repeatable=True,
            schema_description=True,
            input_value_deprecation=True,
        ),
        *(query for query, _ in BLOCKS),
        *(path.read_text() for path in EXAMPLES),
    ],
)
async def test_graphiql_and_the_examples_pass(text: str) -> None:
    """They fail later, because there is no database."""
    assert refusals(await run(DEFAULT, text)) == {}


@pytest.mark.parametrize(
    "text", ["{" + " ".join(f"nope{n}" for n in range(30)) + "}", "{...F}" + "{b}" * 15]
)
async def test_errors_are_capped(text: str) -> None:
    assert len((await run(DEFAULT, text)).errors or ()) == MOST_ERRORS


async def test_errors_of_variables_are_capped() -> None:
    values = {f"v{n}": "x" for n in range(50)}
    result = await run(DEFAULT, variables(50), variable_values=values)
    assert len(result.errors or ()) == MOST_ERRORS


def test_every_limit_has_a_test() -> None:
    others = {"max_overlaps", "max_cost", "operation_seconds", "introspection"}
    assert {each.name for each in fields(Limits)} == DOCUMENTS.keys() | others
