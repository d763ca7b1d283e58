"""Lists that hold columns instead of objects: what resolvers give the columnar executor."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeVar

from schema.columnar.encoding import (
    Column,
    values,
)

T = TypeVar("T")


class ColumnarList(Sequence[T]):
    """Objects of one GraphQL type, held as columns.

    Iterated over, it gives the objects. `column` gives the JSON values of one field of all of
    them, or None where only the ordinary path can tell.
    """

    @abstractmethod
    def column(self, field: str) -> Column | None:
        """Give the column of a field, named as in GraphQL. Never null where it must not be."""

    async def children(
        self,
        field: str,  # noqa: ARG002 - for those who have any
        arguments: dict[str, Any],  # noqa: ARG002 - likewise
    ) -> "ColumnarList[Any] | None":
        """Give the objects of a field, one for each of ours, some of which may be missing.

        None where only the ordinary path can tell.
        """
        return None

    @property
    def missing(self) -> Sequence[int]:
        """Which of these are null, among children."""
        return ()


class ColumnarLeaves(Sequence[T]):
    """Values of one GraphQL scalar, held as a column. Never null where they must not be."""

    def __init__(self, column: Column) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - Sequence's own overloads
        return self._values[index]

    @cached_property
    def _values(self) -> Sequence[Any]:
        return values(self.column)
