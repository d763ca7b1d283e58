"""Every nullable place of the schema, and operations with and without a value there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)

from schema import build_schema

SCHEMA = build_schema()._schema  # noqa: SLF001 - graphql-core's own
# What a required argument is given. A new one needs a value here.
REQUIRED = {"id": '"bitcoin"', "coin": '"bitcoin"', "coins": '["bitcoin", "ethereum"]',
            "window": "3", "maxPoints": "10", "name": '"Coin"'}  # fmt: skip
_OTHER = {"Int": "7", "Float": "9.5", "Boolean": "true", "String": '"b"', "ID": '"eur"',
          "DateTime": '"2024-01-01"', "BigInt": "1"}  # fmt: skip
_DEEPEST = 1  # levels of objects that a selection goes down
_OF_THE_MOMENT = {"windows"}  # of a plan: they end at the moment at which each plan is made

Path = tuple[tuple[str, GraphQLField], ...]


@dataclass(frozen=True)
class Case:
    """One nullable argument, or field of an argument's input, at one path from the root."""

    path: Path
    argument: str
    field: str | None = None

    @property
    def kind(self) -> GraphQLInputType:
        argument = self.path[-1][1].args[self.argument]
        if self.field is None:
            return _nullable(argument.type)
        return _nullable(_inputs(argument)[self.field].type)

    def __str__(self) -> str:
        place = ".".join(name for name, _ in self.path)
        return f"{place}({self.argument}{f': {self.field}' if self.field else ''})"

    def asked(self, label: str, value: str | None, depth: int = _DEEPEST) -> str:
        """Select the path's field with this value, or without any."""
        if value is None:
            return asked(self.path, label, {}, depth)
        given = value if self.field is None else f"{{{self.field}: {value}}}"
        return asked(self.path, label, {self.argument: given}, depth)


def asked(path: Path, label: str, given: dict[str, str], depth: int = _DEEPEST) -> str:
    """Select a path's field with the given and the required arguments."""
    name, field = path[-1]
    text = f"{name}{_call(_required(field) | given)} {selection(field.type, depth)}"
    for name, field in reversed(path[:-1]):
        text = f"{name}{_call(_required(field))} {{ {text} }}"
    return f"{label}: {text}"


def cases(root: GraphQLNamedType | None) -> Iterator[Case]:
    """Return all cases below a root type."""
    assert isinstance(root, GraphQLObjectType)
    for path in _paths(root, (), (root.name,)):
        for name, argument in path[-1][1].args.items():
            if not isinstance(argument.type, GraphQLNonNull) or not is_required_argument(argument):
                yield Case(path, name)
            for field, place in _inputs(argument).items():
                if not isinstance(place.type, GraphQLNonNull) or place.default_value is not None:
                    yield Case(path, name, field)


def other(kind: GraphQLInputType) -> str:
    """Return a value of a type that is not a default anywhere."""
    if isinstance(kind, GraphQLList):
        return f"[{other(_nullable(kind.of_type))}]"
    if isinstance(kind, GraphQLEnumType):
        return str(list(kind.values)[-1])
    return "{}" if isinstance(kind, GraphQLInputObjectType) else _OTHER[str(kind)]


def selection(kind: object, depth: int) -> str:
    """Select fields without arguments, a few levels deep; nothing for a leaf."""
    named = get_named_type(kind)  # type: ignore[call-overload] # any type
    if is_leaf_type(named):
        return ""
    assert isinstance(named, GraphQLObjectType)
    found = ["__typename"]
    for name, field in named.fields.items():
        if name in _OF_THE_MOMENT or any(map(is_required_argument, field.args.values())):
            continue
        if is_leaf_type(get_named_type(field.type)):
            found.append(name)
        elif depth:
            found.append(f"{name} {selection(field.type, depth - 1)}")
    return f"{{ {' '.join(found)} }}"


def _paths(kind: GraphQLObjectType, path: Path, seen: tuple[str, ...]) -> Iterator[Path]:
    for name, field in kind.fields.items():
        below: GraphQLNamedType = get_named_type(field.type)
        if field.args:
            yield (*path, (name, field))
        known = all(
            name in REQUIRED for name, each in field.args.items() if is_required_argument(each)
        )
        if isinstance(below, GraphQLObjectType) and below.name not in seen and known:
            yield from _paths(below, (*path, (name, field)), (*seen, below.name))


def _nullable(kind: GraphQLInputType) -> GraphQLInputType:
    return cast("GraphQLInputType", kind.of_type) if isinstance(kind, GraphQLNonNull) else kind


def _inputs(argument: GraphQLArgument) -> dict[str, GraphQLInputField]:
    kind = _nullable(argument.type)
    return kind.fields if isinstance(kind, GraphQLInputObjectType) else {}


def _required(field: GraphQLField) -> dict[str, str]:
    return {name: REQUIRED[name] for name, each in field.args.items() if is_required_argument(each)}


def _call(given: dict[str, str]) -> str:
    return f"({', '.join(f'{name}: {value}' for name, value in given.items())})" if given else ""
