"""The columnar fast path: a list of points is completed column by column, not field by field.

The seam is graphql-core's `complete_list_value`. A resolver hands over a `ColumnarList`; here its
sub-fields are collected once, as graphql-core itself would for the first item, and the columns
asked for are zipped into the answer's objects. Whatever this does not know goes to `super()`,
which walks the same list object by object and gives the same answer.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from graphql import (
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    get_named_type,
    is_leaf_type,
)
from graphql.execution.collect_fields import FieldDetails
from graphql.pyutils import AwaitableOrValue, Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

T = TypeVar("T")
Column = Sequence[Any]

_POLITE_LENGTH = 512  # longer lists are completed one at a time, others' work in between


class ColumnarList(Sequence[T]):
    """Objects of one GraphQL type, held as columns.

    Iterated over, it gives the objects. `column` gives the JSON values of one field of all of
    them, or None where only the ordinary path can tell.
    """

    @abstractmethod
    def column(self, field: str) -> Column | None:
        """Give the JSON values of a field, named as in GraphQL. Never null where it must not be."""


class FinishedList(list[T]):
    """Leaf values that are JSON already, null only where their type allows it."""


class ColumnarExecutor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor with the fast path."""

    def complete_list_value(
        self,
        return_type: GraphQLList[Any],
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: AsyncIterable[Any] | Iterable[Any],
        position_context: Any,  # noqa: ANN401 - graphql-core's own, handed on
    ) -> AwaitableOrValue[list[Any]]:
        if isinstance(result, FinishedList):
            return result
        if isinstance(result, ColumnarList):
            columns = self._columns(return_type, field_details_list, result)
            if columns is not None:
                polite = len(result) >= _POLITE_LENGTH
                return (_zip_politely if polite else _zip)(columns, len(result))
        return super().complete_list_value(
            return_type, field_details_list, info, path, result, position_context
        )

    def _columns(
        self,
        return_type: GraphQLList[Any],
        field_details_list: list[FieldDetails],
        result: ColumnarList[Any],
    ) -> dict[str, Column] | None:
        """Give each response key its column, or None where the ordinary path is needed."""
        item_type = return_type.of_type
        if not isinstance(item_type, GraphQLNonNull):
            return None
        object_type = item_type.of_type
        if not isinstance(object_type, GraphQLObjectType):
            return None
        fields = self.collect_subfields(object_type, field_details_list)
        if fields.new_defer_usages or fields.forbidden_directive_instances:
            return None
        columns: dict[str, Column] = {}
        for key, details in fields.grouped_field_set.items():
            name = details[0].node.name.value
            column = (
                [object_type.name] * len(result)
                if name == "__typename"
                else self._column(object_type, name, result)
            )
            if column is None:
                return None
            columns[key] = column
        return columns

    def _column(
        self, object_type: GraphQLObjectType, name: str, result: ColumnarList[Any]
    ) -> Column | None:
        field = object_type.fields.get(name)
        if field is None or field.args or not is_leaf_type(get_named_type(field.type)):
            return None
        return result.column(name)


def _zip(columns: dict[str, Column], length: int) -> list[dict[str, Any]]:
    """Make one object of each row."""
    keys = tuple(columns)
    if len(keys) == 1:
        (key,) = keys
        return [{key: value} for value in columns[key]]
    if len(keys) == 2:  # noqa: PLR2004 - the commonest selection, and twice as fast as the general one
        first, second = keys
        pairs = zip(columns[first], columns[second], strict=True)
        return [{first: one, second: other} for one, other in pairs]
    if not keys:
        return [{} for _ in range(length)]
    return [dict(zip(keys, row, strict=True)) for row in zip(*columns.values(), strict=True)]


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def _zip_politely(columns: dict[str, Column], length: int) -> list[dict[str, Any]]:
    """Do the same, one list at a time, and let others work in between."""
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        rows = _zip(columns, length)
        await asyncio.sleep(0)
        return rows
