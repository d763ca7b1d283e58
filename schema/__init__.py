"""What clients see: Strawberry types and thin fields."""

from collections.abc import Iterator
from typing import Any

import strawberry
from graphql import OperationDefinitionNode
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from resolvers.errors import BadInputError
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS


class _NamedOperation(SchemaExtension):
    """Refuse to guess which of several operations is meant: Strawberry would take the first."""

    def on_parse(self) -> Iterator[None]:
        yield
        context = self.execution_context
        if context.graphql_document is None or context._provided_operation_name:  # noqa: SLF001 - `operation_name` tells the first operation's where none was given
            return
        operations = (
            definition
            for definition in context.graphql_document.definitions
            if isinstance(definition, OperationDefinitionNode)
        )
        if len(list(operations)) > 1:
            raise BadInputError("There are several operations: name one as `operationName`.")


class _Schema(strawberry.Schema):
    def process_errors(
        self, errors: list[Any], execution_context: ExecutionContext | None = None
    ) -> None:
        """Leave the logging to schema.errors, which knows what was meant for the caller."""


def build_schema() -> strawberry.Schema:
    """Make the schema. It holds no state; what fields need comes with the context."""
    return _Schema(
        query=Query,
        mutation=Mutation,
        extensions=[_NamedOperation],
        config=StrawberryConfig(scalar_map=SCALARS),
    )
