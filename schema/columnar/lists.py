"""Lists that resolvers return to the columnar executor: columns instead of objects."""

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
    """Objects of one GraphQL type, stored as columns.

    As a sequence, it contains the objects, for the ordinary path.
    """

    @abstractmethod
    def column(self, field: str) -> Column | None:
        """Return the JSON values of a field, by its GraphQL name, one for each object.

        None if only the ordinary path can resolve it. A non-null field has no nulls.
        """

    async def children(
        self,
        field: str,  # noqa: ARG002 - for subclasses
        arguments: dict[str, Any],  # noqa: ARG002 - for subclasses
    ) -> "ColumnarList[Any] | None":
        """Return the objects of a field, one for each of these objects; some may be missing.

        None if only the ordinary path can resolve it.
        """
        return None

    @property
    def missing(self) -> Sequence[int]:
        """The indices of the objects that are null, in the result of `children`."""
        return ()


class ColumnarLeaves(Sequence[T]):
    """Values of one GraphQL scalar, stored as a column. A non-null list has no nulls."""

    def __init__(self, column: Column) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - Sequence's own overloads
        return self._values[index]

    @cached_property
    def _values(self) -> Sequence[Any]:
        return values(self.column)
