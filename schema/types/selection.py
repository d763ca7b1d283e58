"""The fields that an operation selects below a field."""

from collections.abc import Iterator

from graphql import FieldNode, FragmentSpreadNode, InlineFragmentNode, SelectionSetNode

from schema.context import Info


def selected_fields(info: Info) -> frozenset[str]:
    """Return the names of all fields at any depth below this one, `@skip` and `@include` ignored.

    Each fragment is walked once, so the time is linear in the size of the document.
    """
    raw = info._raw_info  # noqa: SLF001 - Strawberry builds its own selected_fields at each access
    waiting = [node.selection_set for node in raw.field_nodes]
    found, seen = set[str](), set[str]()
    while waiting:
        for part in _parts(waiting.pop()):
            if isinstance(part, FieldNode):
                found.add(part.name.value)
                waiting.append(part.selection_set)
            elif isinstance(part, InlineFragmentNode):
                waiting.append(part.selection_set)
            elif isinstance(part, FragmentSpreadNode) and part.name.value not in seen:
                seen.add(part.name.value)
                waiting.append(raw.fragments[part.name.value].selection_set)
    return frozenset(found)


def _parts(selection: SelectionSetNode | None) -> Iterator[object]:
    if selection is not None:
        yield from selection.selections
