"""How large the values are that come with an operation: literals, and variables as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from graphql import ListValueNode, ObjectValueNode, ValueNode


@dataclass(slots=True)
class ValueMeasures:
    """The longest list, the deepest nesting (a number has 0, `[1]` has 1), how many in all.

    `directives` are the most of one place.
    """

    longest: int = 0
    depth: int = 0
    count: int = 0
    directives: int = 0


def measure_values(values: Iterable[ValueNode], found: ValueMeasures) -> int:
    """Measure literals; how many nodes there were."""
    waiting = [(value, 0) for value in values]
    visited = 0
    while waiting:
        value, depth = waiting.pop()
        visited += 1
        if isinstance(value, ListValueNode):
            found.longest = max(found.longest, len(value.values))
            waiting += [(each, depth + 1) for each in value.values]
        elif isinstance(value, ObjectValueNode):
            waiting += [(each.value, depth + 1) for each in value.fields]
        else:
            found.depth = max(found.depth, depth)
            continue
        found.depth = max(found.depth, depth + 1)
    found.count += visited
    return visited


def measure_json(value: Any, most: int) -> ValueMeasures:  # noqa: ANN401 - any JSON
    """Measure variables as they came, at most a few more than `most` of them."""
    found = ValueMeasures(count=-1)  # the object around them is no value
    waiting = [(value, -1)]
    while waiting and found.count <= most:
        each, depth = waiting.pop()
        found.count += 1
        if isinstance(each, list):
            found.longest = max(found.longest, len(each))
            parts: Iterable[Any] = each
        elif isinstance(each, dict):
            parts = each.values()
        else:
            found.depth = max(found.depth, depth)
            continue
        found.depth = max(found.depth, depth + 1)
        waiting += [(part, depth + 1) for part in parts]
    return found
