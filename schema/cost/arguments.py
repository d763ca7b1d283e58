"""The arguments of a field as plain values, before graphql-core validates them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from graphql import (
    BooleanValueNode,
    EnumValueNode,
    FieldNode,
    FloatValueNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
    Undefined,
    ValueNode,
    VariableNode,
    get_named_type,
)

_LONGEST_NUMBER = 20


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one field in a document.

    `given` holds values, including the schema's defaults. `open` holds the nodes that contain
    variables.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    open: Mapping[str, tuple[ValueNode, GraphQLArgument]] = field(default_factory=dict)

    def with_variables(self, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return all values, with these values of the variables."""
        if not self.open:
            return self.given
        read = {
            name: _completed(read_value(node, variables), argument)
            for name, (node, argument) in self.open.items()
        }
        return {**self.given, **read}


def read_arguments(definition: GraphQLField, node: FieldNode) -> Arguments:
    """Read all arguments of a field that contain no variables."""
    given = {name: _completed(None, argument) for name, argument in definition.args.items()}
    open_nodes: dict[str, tuple[ValueNode, GraphQLArgument]] = {}
    for each in node.arguments or ():
        name, argument = each.name.value, definition.args[each.name.value]
        if _holds_variables(each.value):
            open_nodes[name] = each.value, argument
        else:
            given[name] = _completed(read_value(each.value, {}), argument)
    return Arguments(given=given, open=open_nodes)


def _completed(value: Any, place: GraphQLArgument | GraphQLInputField) -> Any:  # noqa: ANN401 - any JSON
    """Replace null and missing values by their defaults, also within input objects."""
    if value is None:
        default = place.default_value
        return None if default is Undefined else _names(default)
    return _completed_parts(value, place.type)


def _completed_parts(value: Any, kind: GraphQLInputType) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    if isinstance(kind, GraphQLList) and isinstance(value, list):
        if isinstance(get_named_type(kind), GraphQLInputObjectType):
            return [_completed_parts(each, kind.of_type) for each in value]
    elif isinstance(kind, GraphQLInputObjectType) and isinstance(value, dict):
        known = {name: _completed(value.get(name), part) for name, part in kind.fields.items()}
        return {**value, **known}
    return value


def _names(default: Any) -> Any:  # noqa: ANN401 - any default
    """Return a default as JSON, with enum values as names."""
    if isinstance(default, list):
        return [_names(each) for each in default]
    return default.name if isinstance(default, Enum) else default


def read_value(node: ValueNode, variables: Mapping[str, Any]) -> Any:  # noqa: ANN401, PLR0911 - any JSON; one return for each kind
    """Return a literal as JSON, with enum values as names."""
    match node:
        case VariableNode():
            return variables.get(node.name.value)
        case ListValueNode():
            return [read_value(each, variables) for each in node.values]
        case ObjectValueNode():
            return {each.name.value: read_value(each.value, variables) for each in node.fields}
        case NullValueNode():
            return None
        case IntValueNode():  # a longer one is no Int and is rejected later
            return int(node.value) if len(node.value) < _LONGEST_NUMBER else None
        case FloatValueNode():
            return float(node.value)
        case BooleanValueNode() | StringValueNode() | EnumValueNode():
            return node.value
    return None


def _holds_variables(node: ValueNode) -> bool:
    if isinstance(node, ListValueNode):
        return any(map(_holds_variables, node.values))
    if isinstance(node, ObjectValueNode):
        return any(_holds_variables(each.value) for each in node.fields)
    return isinstance(node, VariableNode)
