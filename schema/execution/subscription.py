"""Subscriptions taken apart: the source event stream, and the execution of one event.

Strawberry and graphql-core join the two, so that each subscriber executes each event. Apart, an
event that many subscribers share is executed once for all who ask the same of it.
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
    """An operation whose document is valid. Its variables may still not fit."""

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
        """Open the source event stream. Nothing of the selection is executed."""
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
        """How many tokens the document has: what is kept of it grows with them."""
        return self._document.token_count or 0

    def place(self, context: Context) -> AbstractAsyncContextManager[None]:
        """Give an event its turn among those of all subscriptions."""
        return self._schema.event_place(context)

    async def execute(self, event: object, context: Context) -> ExecutionResult:
        """Execute the selection on one event, which may take as long as an operation."""
        try:
            async with self._schema.in_time(context):
                executor = self._executor(event, context)
                if isinstance(executor, list):  # cannot be: the stream was opened with the same
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
    """Parse, validate and reckon by the schema's own rules, its extensions included.

    Raises InvalidOperationTypeError where it is no subscription, and CannotGetOperationTypeError.
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
