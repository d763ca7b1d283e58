"""Invalid documents of every kind for every name, and the names an error may reveal."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

from schema import build_schema as our_schema

SCHEMA: GraphQLSchema = build_schema(our_schema().as_str())
ROOTS = {"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}
_WORD = re.compile(r"[_A-Za-z]\w*", re.ASCII)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_WRONG = ["1", "1.5", '"x"', "XX", "null", "[[[1]]]", "{xx: 1}", "$undeclared"]


@dataclass(frozen=True)
class Mistake:
    """An invalid request."""

    text: str
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> set[str]:
        return set(_WORD.findall(self.text + json.dumps(self.variables)))


def _misspelt(name: str) -> Iterator[str]:
    """Misspell a name slightly."""
    yield name[:-1] or "x"
    yield name[1:2] + name[:1] + name[2:]
    yield name.upper() if name.islower() else name.lower()


def _value(kind: GraphQLInputType) -> str:
    """Return a valid value."""
    named = get_named_type(kind)
    if isinstance(named, GraphQLEnumType):
        return str(next(iter(named.values)))
    if isinstance(named, GraphQLInputObjectType):
        return "{}"
    fitting = {"Int": "3", "Float": "3.0", "Boolean": "true", "BigInt": "3"}
    return fitting.get(named.name, '"2026-01-01"' if named.name == "DateTime" else '"x"')


def _arguments(given: dict[str, GraphQLArgument]) -> str:
    required = [
        f"{name}: {_value(one.type)}" for name, one in given.items() if is_required_argument(one)
    ]
    return f"({', '.join(required)})" if required else ""


def _places() -> Iterator[tuple[str, str, GraphQLObjectType]]:
    """Return for each object type how to open and close a selection of it."""
    seen, waiting = set[str](), [(word, f"{word} {{", "}", ROOTS[word]) for word in ROOTS]
    while waiting:
        word, opening, closing, name = waiting.pop(0)
        kind = SCHEMA.type_map[name]
        if name in seen or not isinstance(kind, GraphQLObjectType):
            continue
        seen.add(name)
        yield opening, closing, kind
        for below, each in kind.fields.items():
            way = f"{opening} {below}{_arguments(each.args)} {{"
            waiting.append((word, way, f"}} {closing}", get_named_type(each.type).name))


def mistakes() -> Iterator[Mistake]:
    for opening, closing, kind in _places():
        for spelt in _misspelt(kind.name):
            yield Mistake(f"{opening} ... on {spelt} {{ __typename }} {closing}")
        yield Mistake(f"{opening} ... on PageInfo {{ __typename }} {closing}")
        yield Mistake(f"{opening} ... on DateTime {{ __typename }} {closing}")
        for name, each in kind.fields.items():
            below = "" if is_leaf_type(get_named_type(each.type)) else "{ __typename }"
            for spelt in _misspelt(name):
                yield Mistake(f"{opening} {spelt} {closing}")
            arguments = _arguments(each.args)
            wrong = " " if below else "{ __typename }"
            yield Mistake(f"{opening} {name}{arguments} {wrong} {closing}")
            yield Mistake(f"{opening} {name}(xx: 1) {below} {closing}")
            yield Mistake(f"{opening} {name} {below} {closing}")
            for argument, one in each.args.items():
                for given in _of_argument(argument, one):
                    yield Mistake(f"{opening} {name}({given}) {below} {closing}")
                yield from _of_variable(
                    argument, one, f"{opening} {name}({argument}: $v) {below} {closing}"
                )
    yield from _of_directives()


def _of_argument(name: str, one: GraphQLArgument) -> Iterator[str]:
    for spelt in _misspelt(name):
        yield f"{spelt}: {_value(one.type)}"
    for value in _wrong_values(get_named_type(one.type)):
        yield f"{name}: {value}"
    yield f"{name}: [XX]"


def _wrong_values(kind: Any) -> Iterator[str]:
    yield from _WRONG
    if isinstance(kind, GraphQLEnumType):
        for value in kind.values:
            yield from _misspelt(value)
            yield f'"{value}"'
    if isinstance(kind, GraphQLInputObjectType):
        for name, each in kind.fields.items():
            for spelt in _misspelt(name):
                yield f"{{{spelt}: {_value(each.type)}}}"
            for value in _wrong_values(get_named_type(each.type)):
                yield f"{{{name}: {value}}}"


def _of_variable(name: str, one: GraphQLArgument, text: str) -> Iterator[Mistake]:
    """Send the same values as JSON, with a variable of another type."""
    word, _, rest = text.partition(" ")
    for value in _wrong_values(get_named_type(one.type)):
        if "$" in value:
            continue
        sent = json.loads(re.sub(r"(?<![\"\w])(?!true|null)([_A-Za-z]\w*)", r'"\1"', value))
        yield Mistake(f"{word} ($v: {one.type}) {rest}", {"v": sent})
    kinds = [
        "String",
        "Boolean",
        "[[ID]]",
        "PriceSeries",
        *_misspelt(get_named_type(one.type).name),
    ]
    for kind in kinds:
        yield Mistake(f"{word} ($v: {kind}) {rest}", {"v": 1})
        yield Mistake(f"{word} ($v: {kind} = 1.5) {rest}")
    yield Mistake(f"{word} ($v: {one.type} = XX) {rest}")
    yield Mistake(f"{word} ($v: {one.type}) {rest}")


def _of_directives() -> Iterator[Mistake]:
    for directive in SCHEMA.directives:
        for spelt in (*_misspelt(directive.name), directive.name):
            yield Mistake(f"{{ __typename @{spelt} }}")
            yield Mistake(f"query @{spelt} {{ __typename @{spelt}(xx: 1) }}")
        for name, one in directive.args.items():
            for given in _of_argument(name, one):
                yield Mistake(f"{{ __typename @{directive.name}({given}) }}")
    for text in ("{ __schem { x } }", "{ __schema { typs } }", '{ __type(nme: "x") { name } }'):
        yield Mistake(text)


def _schema_names() -> set[str]:
    names = {directive.name for directive in SCHEMA.directives}
    for kind in SCHEMA.type_map.values():
        names.add(kind.name)
        if isinstance(kind, GraphQLObjectType):
            for name, each in kind.fields.items():
                names |= {name, *each.args}
        elif isinstance(kind, GraphQLInputObjectType):
            names |= kind.fields.keys()
        elif isinstance(kind, GraphQLEnumType):
            names |= kind.values.keys()
    spec = {name for name in names if name.startswith("__")}
    return names - spec - {"ID", "Int", "Float", "String", "Boolean"}


NAMES = _schema_names()


def unavoidable(words: set[str]) -> set[str]:
    """Return the names that errors may reveal to the author of `words`.

    The types and the required arguments of everything with one of these names in the schema.
    """
    allowed = set(ROOTS.values())
    inputs: list[GraphQLArgument | GraphQLInputField] = []
    for directive in SCHEMA.directives:
        if directive.name in words:
            inputs += directive.args.values()
            allowed |= {name for name, one in directive.args.items() if is_required_argument(one)}
    for kind in SCHEMA.type_map.values():
        if isinstance(kind, GraphQLObjectType):
            for name, each in kind.fields.items():
                if name in words:
                    allowed |= {kind.name, get_named_type(each.type).name}
                    must = {arg for arg, one in each.args.items() if is_required_argument(one)}
                    allowed |= must
                    inputs += [one for arg, one in each.args.items() if arg in words | must]
        elif isinstance(kind, GraphQLInputObjectType):
            must = {name for name, one in kind.fields.items() if is_required_input_field(one)}
            inputs += [one for name, one in kind.fields.items() if name in words | must]
    return allowed | {get_named_type(one.type).name for one in inputs}


def names_in(message: str) -> set[str]:
    """Return the words of a message that are names of the schema and not plain English."""
    quoted = set(_WORD.findall(" ".join(_QUOTED.findall(message))))
    spelt = {word for word in _WORD.findall(message) if not word.islower()}
    return (quoted | spelt) & NAMES
