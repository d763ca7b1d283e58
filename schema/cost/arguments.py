"""The arguments of a field as plain values, before they are checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from graphql import (
    BooleanValueNode,
    EnumValueNode,
    FieldNode,
    FloatValueNode,
    GraphQLField,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
    Undefined,
    ValueNode,
    VariableNode,
)

_LONGEST_NUMBER = 20


@dataclass(frozen=True, slots=True)
class Arguments:
    """`given` are values, the schema's defaults among them; `open` are nodes with variables."""

    given: Mapping[str, Any] = field(default_factory=dict)
    open: Mapping[str, ValueNode] = field(default_factory=dict)

    def with_variables(self, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self.open:
            return self.given
        found = dict(self.given)
        for name, node in self.open.items():
            if isinstance(node, VariableNode) and node.name.value not in variables:
                continue  # left out, so that the default holds
            found[name] = read_value(node, variables)
        return found


def read_arguments(definition: GraphQLField, node: FieldNode) -> Arguments:
    """Read what can be read without variables."""
    given = {
        name: default.name if isinstance(default, Enum) else default
        for name, argument in definition.args.items()
        if (default := argument.default_value) is not Undefined
    }
    open_nodes: dict[str, ValueNode] = {}
    for argument in node.arguments or ():
        name = argument.name.value
        if _holds_variables(argument.value):
            open_nodes[name] = argument.value
        else:
            given[name] = read_value(argument.value, {})
    return Arguments(given=given, open=open_nodes)


def read_value(node: ValueNode, variables: Mapping[str, Any]) -> Any:  # noqa: ANN401, PLR0911 - any JSON; one return for each kind
    """Give a value as JSON would have it; an enum value as its name."""
    match node:
        case VariableNode():
            return variables.get(node.name.value)
        case ListValueNode():
            return [read_value(each, variables) for each in node.values]
        case ObjectValueNode():
            return {each.name.value: read_value(each.value, variables) for each in node.fields}
        case NullValueNode():
            return None
        case IntValueNode():  # a longer one is no Int, and will be refused
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
