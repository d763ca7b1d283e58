"""Documents with all fragments expanded, and their counts."""

from collections.abc import Iterator
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    SelectionSetNode,
)


@dataclass(frozen=True)
class Counts:
    depth: int
    top: int
    fields: int
    aliases: int
    directives: int


def count(document: DocumentNode) -> Counts:
    """Count by walking every spread of every fragment: exponential, and obviously correct."""
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    each = []
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            found = list(_walk(node.selection_set, 0, fragments))
            fields = [(depth, part) for depth, part in found if isinstance(part, FieldNode)]
            each.append(
                Counts(
                    depth=max((depth for depth, _ in fields), default=0),
                    top=len([depth for depth, _ in fields if depth == 1]),
                    fields=len(fields),
                    aliases=sum(part.alias is not None for _, part in fields),
                    directives=sum(
                        len(getattr(part, "directives", None) or ()) for _, part in found
                    )
                    + len(node.directives or ()),
                )
            )
    return Counts(*(max(column) for column in zip(*map(_row, each), strict=True)))


def _row(counts: Counts) -> tuple[int, ...]:
    return counts.depth, counts.top, counts.fields, counts.aliases, counts.directives


def _walk(
    selection: SelectionSetNode, depth: int, fragments: dict[str, FragmentDefinitionNode]
) -> Iterator[tuple[int, object]]:
    for part in selection.selections:
        below = depth + isinstance(part, FieldNode)
        yield below, part
        if isinstance(part, FragmentSpreadNode):
            fragment = fragments[part.name.value]
            for directive in fragment.directives or ():
                yield depth, _Bare((directive,))
            yield from _walk(fragment.selection_set, depth, fragments)
        elif part.selection_set is not None:  # type: ignore[attr-defined] # both others have it
            yield from _walk(part.selection_set, below, fragments)  # type: ignore[attr-defined] # as above


@dataclass(frozen=True)
class _Bare:
    directives: tuple[object, ...]
