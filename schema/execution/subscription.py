"""Subscriptions in two steps: open the source event stream, then execute each event.

Strawberry and graphql-core combine the two, so each subscriber executes each event. Separated, an
event that many subscribers share is executed once for all that select the same fields.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from inspect import isawaitable
from typing import Any

from graphql import ExecutionResult as GraphQLResult
from graphql import GraphQLError
from graphql.execution import create_source_event_stream, execute_subscription_event
from strawberry.types import ExecutionResult

from resolvers.errors import RequestError
from schema.context import Context
from schema.execution.operation import OperationRefusedError, PreparedOperation, refused
from schema.execution.schema import LimitedSchema


class SubscriptionOperation:
    """An open subscription: `events` are those of its source; `execute` makes their payloads."""

    def __init__(
        self,
        schema: LimitedSchema,
        operation: PreparedOperation,
        variables: dict[str, Any] | None,
        events: AsyncIterator[Any],
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._variables = variables
        self.events = events

    async def close(self) -> None:
        """Close the source of events."""
        close = getattr(self.events, "aclose", None)
        if close is not None:
            await close()

    def place(self, context: Context) -> AbstractAsyncContextManager[None]:
        """Return a context manager that waits for the turn of an event."""
        return self._schema.event_place(context)

    async def execute(self, event: object, context: Context) -> ExecutionResult:
        """Execute the selection for one event, within OPERATION_TIMEOUT."""
        try:
            async with self._schema.in_time(context):
                executor = self._schema.executor_of(
                    self._operation, self._variables, context, root_value=event
                )
                if isinstance(executor, list):
                    # cannot happen: the stream was opened with the same variables
                    return ExecutionResult(data=None, errors=executor)
                executed = execute_subscription_event(executor)
                result = await executed if isawaitable(executed) else executed
        except RequestError as error:
            return ExecutionResult(None, [GraphQLError(str(error), original_error=error)])
        return ExecutionResult(data=result.data, errors=result.errors)


async def open_subscription(
    schema: LimitedSchema,
    operation: PreparedOperation,
    variables: dict[str, Any] | None,
    context: Context,
) -> SubscriptionOperation:
    """Check the limits and the cost, and open the source event stream. Executes no selection.

    Raises OperationRefusedError.
    """
    try:
        await schema.check(operation, variables, context)
    except RequestError as error:
        raise refused(error) from None
    executor = schema.executor_of(operation, variables, context)
    if isinstance(executor, list):
        raise OperationRefusedError(ExecutionResult(data=None, errors=executor))
    opened = create_source_event_stream(executor)
    events = await opened if isawaitable(opened) else opened
    if isinstance(events, GraphQLResult):
        raise OperationRefusedError(ExecutionResult(data=None, errors=events.errors))
    return SubscriptionOperation(schema, operation, variables, aiter(events))
