"""An explicit null means the default, for every argument and input field that has one.

GraphQL allows null for a nullable variable at a place of type `Int! = 50`, and then answers with a
field error. Clients send null for "not chosen". So such places become `Int = 50`, and the null is
replaced before any resolver receives it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
)
from graphql.utilities.coerce_input_value import coerce_default_value

Place = GraphQLArgument | GraphQLInputField
_Resolve = Callable[..., Any]


def replace_null_with_default(schema: GraphQLSchema) -> None:
    """Make every place with a default nullable, and replace null by the default.

    Includes the introspection types, which all schemas of a process share.
    """
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInputObjectType):
            _rewrite_input(kind)
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field in kind.fields.values():
                _rewrite_field(field)


def without_nulls(field: GraphQLField, arguments: dict[str, Any]) -> dict[str, Any]:
    """Replace nulls among the coerced arguments of a field by the defaults."""
    resolve = field.resolve
    return resolve.replace(arguments) if isinstance(resolve, _NullReplacing) else arguments


class _NullReplacing:
    """Wraps a resolver or an input type's constructor, so that it receives no null."""

    __slots__ = ("_call", "_defaults")

    def __init__(self, call: _Resolve, defaults: Mapping[str, Any]) -> None:
        self._call = call
        self._defaults = tuple(defaults.items())

    def __call__(self, source: Any, info: Any, **arguments: Any) -> Any:  # noqa: ANN401 - graphql-core's own
        return self._call(source, info, **self.replace(arguments))

    def out_type(self, fields: dict[str, Any]) -> Any:  # noqa: ANN401 - graphql-core's own
        """Build the value of an input type."""
        return self._call(self.replace(fields))

    def replace(self, values: dict[str, Any]) -> dict[str, Any]:
        """Replace nulls in place; `values` belong to one call."""
        for name, default in self._defaults:
            if values.get(name, Undefined) is None:
                values[name] = default
        return values


def _rewrite_field(field: GraphQLField) -> None:
    defaults = dict(_defaults(field.args))
    if not defaults:
        return
    if field.resolve is not None and not isinstance(field.resolve, _NullReplacing):
        field.resolve = _NullReplacing(field.resolve, defaults)
    if field.subscribe is not None and not isinstance(field.subscribe, _NullReplacing):
        field.subscribe = _NullReplacing(field.subscribe, defaults)


def _rewrite_input(kind: GraphQLInputObjectType) -> None:
    defaults = dict(_defaults(kind.fields))
    if defaults:
        replacing = _NullReplacing(kind.out_type, defaults)
        kind.out_type = replacing.out_type  # type: ignore[method-assign, assignment] # graphql-core's own way


def _defaults(places: Mapping[str, Place]) -> Iterator[tuple[str, Any]]:
    """Make the places with a default nullable. Yield each default by its Python name."""
    for name, place in places.items():
        default = coerce_default_value(place)
        if default is Undefined or default is None:
            continue
        if isinstance(place.type, GraphQLNonNull):
            place.type = cast("Any", place.type.of_type)
        yield place.out_name or name, default
