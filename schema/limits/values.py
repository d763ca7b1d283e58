"""The size of an operation's values: literals, and variables as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from graphql import ListValueNode, ObjectValueNode, ValueNode


@dataclass(slots=True)
class ValueMeasures:
    """The longest list, the deepest nesting (a number has 0, `[1]` has 1) and the total count.

    `directives` is the highest number of directives in one place.
    """

    longest: int = 0
    depth: int = 0
    count: int = 0
    directives: int = 0


def measure_values(values: Iterable[ValueNode], found: ValueMeasures) -> int:
    """Measure literals. Return the number of visited nodes."""
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
    """Measure variables as received. Stops shortly after `most` values."""
    found = ValueMeasures(count=-1)  # the object around them does not count
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
