"""The schema that parses, validates, limits and executes operations."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import strawberry
from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.types import ExecutionContext
from strawberry.types.execution import PreExecutionError

from models.postgres.connection_share import limit_operation_connections
from resolvers.errors import BadInputError, RequestError, UnavailableError
from resolvers.scheduling.event_loop_turns import begin_operation
from resolvers.scheduling.fair_queue import FairQueue
from schema.context import Context
from schema.cost import CostPlan, check_cost
from schema.execution import gathering
from schema.execution.columnar import ColumnarExecutor
from schema.execution.document_cache import DocumentCache, ValidDocument
from schema.execution.graphql_core_patch import patch
from schema.execution.null_defaults import replace_null_with_default
from schema.limits import (
    MOST_ERRORS,
    Limits,
    check_variables,
    read_document,
    validate_document,
)

patch()
gathering.install()

# Lengths of documents in characters. Short ones are parsed at once, middling ones one per turn
# of the event loop, longer ones in a thread.
_SHORT, _MIDDLING = 500, 1_500
_CHEAP = 20_000  # the highest cost of an operation that does not queue
_AT_ONCE = 2  # most expensive operations in progress at once, which bounds their memory
_MANY = 5  # other operations that queue, in progress at once: leaves connections for cheap ones
_MOST_WAITING = 32  # places of one caller
_EVENT = 1_000  # the minimum cost of a subscription's event
_MOST_EVENTS = 100_000  # waiting events: more than there can be subscriptions
_WAIT = "Too many of your operations are waiting: try again in a few seconds."


class LimitedSchema(strawberry.Schema):
    """A Strawberry schema that caches valid documents and rejects operations beyond `limits`.

    All transports execute their operations through it.
    """

    def __init__(self, *, limits: Limits, **parts: Any) -> None:  # noqa: ANN401 - Strawberry's own
        self.executor = _Executor if limits.introspection else _ExecutorWithoutSuggestions
        super().__init__(execution_context_class=self.executor, **parts)
        replace_null_with_default(self._schema)
        self.limits = limits
        self._documents = DocumentCache()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="documents")
        self._readings = FairQueue(1, _MOST_WAITING, _WAIT)
        self._short_readings = FairQueue(1, _MOST_WAITING, _WAIT)
        self.work = FairQueue(_AT_ONCE * limits.max_cost, _MOST_WAITING, _WAIT)
        self.events = FairQueue(_CHEAP, _MOST_EVENTS, _WAIT, most_in_all=_MOST_EVENTS)

    def _extend_introspection(self) -> None:
        """Leave `isOneOf` to graphql-core: Strawberry's fails for lists and non-null types."""

    async def _prepare_operation_async(
        self, context: ExecutionContext, extensions_runner: SchemaExtensionsRunner
    ) -> PreExecutionError | None:
        """Parse and validate the document or take it from the cache, then check limits and cost."""
        query = context.query or ""
        document = self._documents.get(query)
        known = document is not None
        if document is not None:
            context.graphql_document, context.pre_execution_errors = document.node, []
        elif query:
            try:
                document, context.pre_execution_errors = await self._read_text(query, context)
            except (GraphQLSyntaxError, RequestError) as error:
                return _refused(error)
            context.graphql_document = document.node
        # checks the operation's type, and reports the errors
        failed = await super()._prepare_operation_async(context, extensions_runner)
        if failed is not None or document is None:
            return failed
        if not known:
            self._documents.put(query, document)
        # `operation_name` gives the first operation's name if none was sent
        if context._provided_operation_name is None and document.operations > 1:  # noqa: SLF001 - see above
            return _refused(
                BadInputError(
                    "The document has several operations: select one with `operationName`."
                )
            )
        return await self._within_limits(context, document)

    async def _read_text(
        self, text: str, context: ExecutionContext
    ) -> tuple[ValidDocument, list[GraphQLError]]:
        """Parse and validate here, or in a thread if the document is long."""
        if len(text) <= _SHORT:
            return self.read(text)
        if len(text) <= _MIDDLING:
            async with self._short_readings.place(_caller(context), 1):
                return self.read(text)
        async with self._readings.place(_caller(context), 1):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._reader, self.read, text)

    def read(self, text: str) -> tuple[ValidDocument, list[GraphQLError]]:
        """Parse and validate a document. It can be executed if the list of errors is empty.

        Raises GraphQLSyntaxError and TooComplexError.
        """
        node = read_document(text, self.limits)
        errors = validate_document(self._schema, node, self.limits)
        costs = CostPlan(self._schema, node)
        if not errors:
            costs.plan()
        return ValidDocument(node, costs), errors

    async def _within_limits(
        self, context: ExecutionContext, document: ValidDocument
    ) -> PreExecutionError | None:
        """Check the variables and the cost of the operation."""
        if context.variables:
            errors = check_variables(context.variables, self.limits)
            if errors:
                return PreExecutionError(data=None, errors=errors)
        ours = context.context
        if not isinstance(ours, Context) or ours.services.extent is None:
            return None
        name, extent = context.operation_name, ours.services.extent
        ours.cost = cost = document.costs.cost(name, context.variables, ours.now, extent)
        if (context.operation_extensions or {}).get("cost") is True:
            context.extensions_results["cost"] = {
                "requested": cost.requested,
                "limit": self.limits.max_cost,
                "dearest": {"field": cost.costliest, "requested": cost.costliest_requested},
            }
        try:
            check_cost(cost, self.limits.max_cost)
            if ours.charge is not None:
                await ours.charge(cost.requested)
        except RequestError as error:
            return _refused(error)
        return None

    async def _execute_operation(
        self,
        execution_context: ExecutionContext,
        *more: Any,  # noqa: ANN401 - Strawberry's own
    ) -> Any:  # noqa: ANN401 - likewise
        ours = execution_context.context
        cost = ours.cost.requested if isinstance(ours, Context) and ours.cost else 0
        async with self.in_time(ours):
            if cost <= _CHEAP:
                return await super()._execute_operation(execution_context, *more)
            size = max(cost, _AT_ONCE * self.limits.max_cost // _MANY)
            async with self.work.place(_caller(execution_context), size):
                return await super()._execute_operation(execution_context, *more)

    def event_place(self, context: Context) -> AbstractAsyncContextManager[None]:
        """Return a context manager that waits for the turn of a subscription's event.

        Cheap events of all callers run together, up to a total cost; an expensive one runs alone.
        """
        cost = context.cost.requested if context.cost else 0
        return self.events.place(context.caller.name, max(cost, _EVENT))

    @asynccontextmanager
    async def in_time(self, context: Context | None) -> AsyncIterator[None]:
        """Limit the block to OPERATION_TIMEOUT, then cancel everything it waits for.

        Raises UnavailableError if the time is exceeded.
        """
        begin_operation()
        limit_operation_connections()
        try:
            async with asyncio.timeout(self.limits.operation_seconds) as deadline:
                if context is not None:
                    context.deadline = deadline
                yield
        except TimeoutError:
            if not deadline.expired():
                raise
            if context is not None:
                context.loaders.cancel()
            raise UnavailableError(
                f"The operation was stopped after {self.limits.operation_seconds:g} s "
                "(OPERATION_TIMEOUT): try again later, or request less data."
            ) from None

    def process_errors(
        self, errors: list[Any], execution_context: ExecutionContext | None = None
    ) -> None:
        """Log nothing: schema.errors does, without errors meant for the caller."""


class _Executor(ColumnarExecutor):
    """Reports at most MOST_ERRORS variables that do not match their types."""

    @classmethod
    def build(cls, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - graphql-core's own
        """Build the executor, or return the errors of the variables."""
        built = super().build(*arguments, **named)
        return built[:MOST_ERRORS] if isinstance(built, list) else built


class _ExecutorWithoutSuggestions(_Executor):
    """Suggests no names of the schema, for servers without introspection."""

    @classmethod
    def build(cls, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - graphql-core's own
        """Build the executor without suggestions."""
        return super().build(*arguments, **{**named, "hide_suggestions": True})


def _caller(context: ExecutionContext) -> str:
    ours = context.context
    return ours.caller.name if isinstance(ours, Context) else ""


def _refused(error: RequestError | GraphQLError) -> PreExecutionError:
    if not isinstance(error, GraphQLError):
        error = GraphQLError(str(error), original_error=error)
    return PreExecutionError(data=None, errors=[error])
