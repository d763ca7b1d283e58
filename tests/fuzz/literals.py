"""JSON values as GraphQL literals."""

import re
from typing import Any

from graphql.language import ast


def literal(given: Any) -> ast.ValueNode:
    """Write a JSON value as a GraphQL literal."""
    if isinstance(given, list):
        return ast.ListValueNode(values=tuple(map(literal, given)))
    if isinstance(given, dict):
        fields = (
            ast.ObjectFieldNode(name=ast.NameNode(value=name), value=literal(each))
            for name, each in given.items()
            if re.fullmatch(r"\w+", name, re.ASCII)
        )
        return ast.ObjectValueNode(fields=tuple(fields))
    return _scalar(given)


def _scalar(given: Any) -> ast.ValueNode:
    match given:
        case None:
            return ast.NullValueNode()
        case bool():
            return ast.BooleanValueNode(value=given)
        case int():
            return ast.IntValueNode(value=str(given))
        case float():
            return ast.FloatValueNode(value=repr(given))
    kind = ast.EnumValueNode if re.fullmatch(r"[A-Z]+", given, re.ASCII) else ast.StringValueNode
    return kind(value=given)
