"""What clients see: Strawberry types and thin fields."""

from typing import Any

import strawberry
from graphql import DocumentNode, GraphQLError, OperationDefinitionNode
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext
from strawberry.types.execution import PreExecutionError

from resolvers.errors import BadInputError
from schema.documents import DocumentCache
from schema.executor import ColumnarExecutor
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.subscription import Subscription


class _Schema(strawberry.Schema):
    def __init__(self, **parts: Any) -> None:  # noqa: ANN401 - Strawberry's own arguments
        super().__init__(**parts)
        self._documents = DocumentCache()

    async def _prepare_operation_async(
        self, context: ExecutionContext, extensions_runner: SchemaExtensionsRunner
    ) -> PreExecutionError | None:
        """Parse and validate, or take the document from the cache. Only valid ones are in it."""
        query = context.query or ""
        known = self._documents.get(query)
        if known is not None:
            context.graphql_document, context.pre_execution_errors = known, []
        failed = await super()._prepare_operation_async(context, extensions_runner)
        if failed is not None or context.graphql_document is None:
            return failed
        if known is None:
            self._documents.put(query, context.graphql_document)
        # `operation_name` would tell the first operation's where none was given
        if context._provided_operation_name is None and _operations(context.graphql_document) > 1:  # noqa: SLF001 - see above
            error = BadInputError("There are several operations: name one as `operationName`.")
            return PreExecutionError(
                data=None, errors=[GraphQLError(str(error), original_error=error)]
            )
        return None

    def process_errors(
        self, errors: list[Any], execution_context: ExecutionContext | None = None
    ) -> None:
        """Leave the logging to schema.errors, which knows what was meant for the caller."""


def _operations(document: DocumentNode) -> int:
    return sum(isinstance(part, OperationDefinitionNode) for part in document.definitions)


def build_schema() -> strawberry.Schema:
    """Make the schema. It holds no state; what fields need comes with the context."""
    return _Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        execution_context_class=ColumnarExecutor,
        config=StrawberryConfig(scalar_map=SCALARS),
    )
