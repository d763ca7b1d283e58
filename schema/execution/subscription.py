"""Subscriptions in two steps: open the source event stream, then execute each event.

Strawberry and graphql-core combine the two, so each subscriber executes each event. Separated, an
event that many subscribers share is executed once for all that select the same fields.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from inspect import isawaitable
from typing import Any

from graphql import DocumentNode, GraphQLError
from graphql import ExecutionResult as GraphQLResult
from graphql.execution import Executor, create_source_event_stream, execute_subscription_event
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from resolvers.errors import RequestError
from schema.context import Context
from schema.execution.schema import LimitedSchema


class SubscriptionOperation:
    """A subscription whose document is valid. Its variables may still be invalid."""

    def __init__(
        self,
        schema: LimitedSchema,
        document: DocumentNode,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> None:
        self._schema = schema
        self._document = document
        self._variables = variables
        self._operation_name = operation_name

    async def events(self, context: Context) -> AsyncIterator[Any] | ExecutionResult:
        """Open the source event stream, or return the errors. Executes no selection."""
        executor = self._executor(None, context)
        if isinstance(executor, list):
            return ExecutionResult(data=None, errors=executor)
        opened = create_source_event_stream(executor)
        events = await opened if isawaitable(opened) else opened
        if isinstance(events, GraphQLResult):
            return ExecutionResult(data=None, errors=events.errors)
        return aiter(events)

    @property
    def tokens(self) -> int:
        """The number of tokens in the document; its memory grows with them."""
        return self._document.token_count or 0

    def place(self, context: Context) -> AbstractAsyncContextManager[None]:
        """Return a context manager that waits for the turn of an event."""
        return self._schema.event_place(context)

    async def execute(self, event: object, context: Context) -> ExecutionResult:
        """Execute the selection for one event, within OPERATION_TIMEOUT."""
        try:
            async with self._schema.in_time(context):
                executor = self._executor(event, context)
                if isinstance(executor, list):
                    # cannot happen: the stream was opened with the same variables
                    return ExecutionResult(data=None, errors=executor)
                executed = execute_subscription_event(executor)
                result = await executed if isawaitable(executed) else executed
        except RequestError as error:
            return ExecutionResult(None, [GraphQLError(str(error), original_error=error)])
        return ExecutionResult(data=result.data, errors=result.errors)

    def _executor(self, root_value: object, context: Context) -> Executor[Any] | list[GraphQLError]:
        executor: Executor[Any] | list[GraphQLError] = self._schema.executor.build(
            self._schema._schema,
            self._document,
            root_value,
            context,
            self._variables,
            self._operation_name,
        )
        return executor


async def read_subscription(
    schema: LimitedSchema,
    text: str,
    variables: dict[str, Any] | None,
    operation_name: str | None,
    context: Context,
) -> SubscriptionOperation | PreExecutionError:
    """Parse and validate a subscription and compute its cost, with the schema's extensions.

    Raises InvalidOperationTypeError for other operations, and CannotGetOperationTypeError.
    """
    # ruff: noqa: SLF001 - the first half of Strawberry's `Schema.stream`, which has no name
    execution_context = schema._create_execution_context(
        query=text,
        allowed_operation_types=(OperationType.SUBSCRIPTION,),
        variable_values=variables,
        context_value=context,
        root_value=None,
        operation_name=operation_name,
        operation_extensions=None,
    )
    extensions = schema.get_extensions()
    for extension in extensions:
        extension.execution_context = execution_context
    runner = schema.create_extensions_runner(execution_context, extensions)
    async with runner.operation():
        failed = await schema._prepare_operation_async(execution_context, runner)
    if failed is not None:
        return failed
    document = execution_context.graphql_document
    assert document is not None  # noqa: S101 - it was validated
    return SubscriptionOperation(schema, document, variables, operation_name)
