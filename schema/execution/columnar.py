"""The columnar fast path: lists are completed column by column instead of field by field.

It overrides graphql-core's `complete_list_value`. When a resolver returns a `ColumnarList`, the
executor collects the sub-fields once, as graphql-core does for the first item, and builds the
objects of the response from the columns. Everything that it does not support goes to `super()`,
which iterates over the same list object by object and gives the same result.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import orjson
from graphql import (
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    get_argument_values,
    get_named_type,
    is_leaf_type,
)
from graphql.execution.collect_fields import FieldDetails
from graphql.pyutils import AwaitableOrValue, Path

from schema.columnar.encoding import (
    Column,
    encoded_list,
    encoded_rows,
    finite,
    parts_of,
    rows,
    values,
    written_rows,
)
from schema.columnar.lists import ColumnarLeaves, ColumnarList
from schema.execution.cooperative import CooperativeExecutor
from schema.execution.null_defaults import without_nulls

_AT_ONCE = 25_000  # values that are encoded in one piece, in about 5 ms
_LONG = 64  # items from which a list is encoded directly


@dataclass(frozen=True, slots=True)
class _Children:
    """A selected field whose value is an object, for each object of a list."""

    field: str
    arguments: dict[str, Any]
    type: GraphQLObjectType
    details: list[FieldDetails]


_Plan = dict[str, Column | _Children]


class ColumnarExecutor(CooperativeExecutor):
    """graphql-core's executor with the columnar fast path.

    If `encoded` is true in the context, long lists are returned as orjson.Fragment, already encoded
    as JSON.
    """

    def complete_list_value(
        self,
        return_type: GraphQLList[Any],
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: AsyncIterable[Any] | Iterable[Any],
        position_context: Any,  # noqa: ANN401 - graphql-core's own
    ) -> AwaitableOrValue[list[Any]]:
        """Complete a list; see graphql-core's method of the same name."""
        ordinary = partial(
            super().complete_list_value,
            return_type, field_details_list, info, path, result, position_context,
        )  # fmt: skip
        if isinstance(result, ColumnarLeaves) and finite(result.column):
            return self.in_turn(partial(self._leaves, result.column))
        if not isinstance(result, ColumnarList):
            return ordinary()
        plan = self._list_plan(return_type, field_details_list, result)
        if plan is None:
            return ordinary()
        if any(isinstance(part, _Children) for part in plan.values()):
            return self._with_children(plan, result, ordinary)
        if len(result) * len(plan) > _AT_ONCE and self._encodes(len(result)):
            return self._in_parts(cast("dict[str, Column]", plan), len(result))
        return self.in_turn(partial(self._objects_of, plan, len(result)))

    def _leaves(self, column: Column) -> Any:  # noqa: ANN401 - a list, or the JSON of one
        return encoded_list(column) if self._encodes(len(column)) else values(column)

    def _objects_of(self, plan: _Plan, length: int) -> Any:  # noqa: ANN401 - likewise
        columns: Any = plan
        return (encoded_rows if self._encodes(length) else rows)(columns, length)

    def _encodes(self, length: int) -> bool:
        return length >= _LONG and getattr(self.context_value, "encoded", False)

    def _list_plan(
        self, return_type: GraphQLList[Any], details: list[FieldDetails], result: ColumnarList[Any]
    ) -> _Plan | None:
        item_type = return_type.of_type
        object_type = _object_type(item_type) if isinstance(item_type, GraphQLNonNull) else None
        return None if object_type is None else self._plan(object_type, details, result)

    def _plan(
        self,
        object_type: GraphQLObjectType,
        field_details_list: list[FieldDetails],
        result: ColumnarList[Any],
    ) -> _Plan | None:
        """Return the column of each response key; None if the ordinary path is needed."""
        fields = self.collect_subfields(object_type, field_details_list)
        if fields.new_defer_usages or fields.forbidden_directive_instances:
            return None
        plan: _Plan = {}
        columns: dict[str, Column] = {"__typename": [object_type.name] * len(result)}
        for key, details in fields.grouped_field_set.items():
            name = details[0].node.name.value
            part: Column | _Children | None = columns.get(name)
            if part is None:
                part = self._part(object_type, name, details, result)
            if part is None:
                return None
            if not isinstance(part, _Children):
                columns[name] = part  # shared by all aliases
            plan[key] = part
        return plan

    def _part(
        self,
        object_type: GraphQLObjectType,
        name: str,
        details: list[FieldDetails],
        result: ColumnarList[Any],
    ) -> Column | _Children | None:
        field = object_type.fields.get(name)
        if field is None:
            return None
        if is_leaf_type(get_named_type(field.type)):
            return None if field.args else result.column(name)
        below = _object_type(field.type)
        if below is None:
            return None
        try:
            arguments = get_argument_values(field, details[0].node, self.variable_values)
        except GraphQLError:
            return None
        return _Children(name, without_nulls(field, arguments), below, details)

    async def _with_children(
        self,
        plan: _Plan,
        result: ColumnarList[Any],
        ordinary: Callable[[], AwaitableOrValue[list[Any]]],
    ) -> list[Any]:
        """Complete objects that contain objects, or use the ordinary path."""
        parts = [part for part in plan.values() if isinstance(part, _Children)]
        children = (result.children(part.field, part.arguments) for part in parts)
        found = iter(await asyncio.gather(*children, return_exceptions=True))
        columns: dict[str, Column] = {}
        for key, part in plan.items():
            column = self._objects(part, next(found)) if isinstance(part, _Children) else part
            if column is None:
                completed: AwaitableOrValue[list[Any]] = ordinary()
                return await completed if isinstance(completed, Awaitable) else completed
            columns[key] = column
        return rows(columns, len(result))

    def _objects(self, part: _Children, children: object) -> Column | None:
        if not isinstance(children, ColumnarList):
            return None
        plan = self._plan(part.type, part.details, children)
        if plan is None or any(isinstance(below, _Children) for below in plan.values()):
            return None
        columns: Any = plan
        completed: list[Any] = rows(columns, len(children))
        for index in children.missing:
            completed[index] = None
        return completed

    async def _in_parts(self, columns: dict[str, Column], length: int) -> list[Any]:
        """Encode a list that would block the event loop, some rows per turn."""
        written = [
            await self.later(partial(written_rows, part, count))
            for part, count in parts_of(columns, length, _AT_ONCE)
        ]
        return [orjson.Fragment(part) for part in written]  # joined by commas, like objects


def _object_type(field_type: GraphQLOutputType) -> GraphQLObjectType | None:
    """Return the object type of a field that is not a list; None for other types."""
    if isinstance(field_type, GraphQLNonNull):
        field_type = field_type.of_type
    return field_type if isinstance(field_type, GraphQLObjectType) else None
