"""The size of a document, measured in time linear in its length.

Each definition is walked once. The sizes of fragments are then added up by name, from the leaves of
the fragment graph upwards, so it does not matter how often a fragment is spread.
"""

from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from schema.limits.values import ValueMeasures, measure_values

FULL = 1_000_000_000  # the highest count; 30 fragments that each spread one twice would exceed it


@dataclass(slots=True)
class SelectionSize:
    """The size of a selection with all fragments expanded.

    A field is one level deeper than the field around it; `{ a }` has depth 1. `top` counts the
    fields that are not inside another field.
    """

    depth: int = 0
    top: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0

    def add(self, other: "SelectionSize", depth: int) -> None:
        """Add a fragment that is spread at this depth."""
        self.depth = max(self.depth, depth + other.depth)
        if not depth:
            self.top = min(FULL, self.top + other.top)
        self.fields = min(FULL, self.fields + other.fields)
        self.aliases = min(FULL, self.aliases + other.aliases)
        self.directives = min(FULL, self.directives + other.directives)

    def widen(self, other: "SelectionSize") -> None:
        """Take the maximum of each value and the other's."""
        self.depth = max(self.depth, other.depth)
        self.top = max(self.top, other.top)
        self.fields = max(self.fields, other.fields)
        self.aliases = max(self.aliases, other.aliases)
        self.directives = max(self.directives, other.directives)


@dataclass(slots=True)
class Measures:
    """The size of the largest operation, and counts over the whole document.

    `visited` counts the visited nodes.
    """

    size: SelectionSize = field(default_factory=SelectionSize)
    values: ValueMeasures = field(default_factory=ValueMeasures)
    operations: int = 0
    fragments: int = 0
    variables: int = 0
    visited: int = 0


@dataclass(slots=True)
class _Definition:
    """An operation or a fragment: its own size, and the fragments it spreads, with depths."""

    size: SelectionSize = field(default_factory=SelectionSize)
    spreads: list[tuple[str, int]] = field(default_factory=list)


def measure(document: DocumentNode) -> Measures:
    """Measure a parsed document. Validation reports cycles of fragments later."""
    found = Measures()
    fragments: dict[str, _Definition] = {}
    operations: list[_Definition] = []
    for node in document.definitions:
        if isinstance(node, FragmentDefinitionNode):
            found.fragments += 1
            fragments[node.name.value] = _walk(node, found)
        elif isinstance(node, OperationDefinitionNode):
            found.operations += 1
            found.variables = max(found.variables, len(node.variable_definitions or ()))
            operations.append(_walk(node, found))
    _spread_out(fragments, found)
    for operation in operations:
        _add_fragments(operation, fragments, found)
        found.size.widen(operation.size)
    return found


def _walk(node: OperationDefinitionNode | FragmentDefinitionNode, found: Measures) -> _Definition:
    """Measure one definition without its fragments."""
    definition = _Definition()
    size = definition.size
    _count_directives(node, size, found)
    for variable in node.variable_definitions or ():
        found.visited += 1
        _count_directives(variable, size, found)
        if variable.default_value is not None:
            found.visited += measure_values([variable.default_value], found.values)
    waiting: list[tuple[SelectionSetNode, int]] = [(node.selection_set, 0)]
    while waiting:
        selection, depth = waiting.pop()
        for part in selection.selections:
            found.visited += 1
            _count_directives(part, size, found)
            if isinstance(part, FragmentSpreadNode):
                definition.spreads.append((part.name.value, depth))
                continue
            below = depth
            if isinstance(part, FieldNode):
                below = depth + 1
                size.depth = max(size.depth, below)
                size.top += not depth
                size.fields += 1
                size.aliases += part.alias is not None
                values = [argument.value for argument in part.arguments or ()]
                found.visited += measure_values(values, found.values)
            inner = part.selection_set  # type: ignore[attr-defined] # both other node types have it
            if inner is not None:
                waiting.append((inner, below))
    return definition


def _count_directives(node: object, size: SelectionSize, found: Measures) -> None:
    directives = getattr(node, "directives", None)
    if not directives:
        return
    size.directives += len(directives)
    found.values.directives = max(found.values.directives, len(directives))
    for directive in directives:
        values = [argument.value for argument in directive.arguments or ()]
        found.visited += 1 + measure_values(values, found.values)


def _spread_out(fragments: dict[str, _Definition], found: Measures) -> None:
    """Complete each fragment's size after those of its fragments, without recursion."""
    done: dict[str, _Definition] = {}
    for root, definition in fragments.items():
        if root in done:
            continue
        path = [(root, iter(definition.spreads))]
        on_path = {root}
        while path:
            name, spreads = path[-1]
            for spread, _ in spreads:
                if spread in fragments and spread not in done and spread not in on_path:
                    path.append((spread, iter(fragments[spread].spreads)))
                    on_path.add(spread)
                    break
            else:
                path.pop()
                on_path.discard(name)
                _add_fragments(fragments[name], done, found)
                done[name] = fragments[name]


def _add_fragments(definition: _Definition, known: dict[str, _Definition], found: Measures) -> None:
    for name, depth in definition.spreads:
        found.visited += 1
        if name in known:
            definition.size.add(known[name].size, depth)
