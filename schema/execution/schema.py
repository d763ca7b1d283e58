"""How operations are taken: read, validated, reckoned, executed, each within its limits."""

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
from schema.execution.graphql_core_patch import mend
from schema.execution.null_defaults import let_null_mean_the_default
from schema.limits import (
    MOST_ERRORS,
    Limits,
    check_variables,
    read_document,
    validate_document,
)

mend()
gathering.install()

# Characters of documents. Those that are not short are read one in a turn of the event loop; those
# that take longer than a turn should, beside it.
_SHORT, _MIDDLING = 500, 1_500
_CHEAP = 20_000  # an operation that costs no more need not queue
_AT_ONCE = 2  # of the dearest operations: so what they hold of memory is bounded
_MANY = 5  # of others that are not cheap: so some of the pool's connections are free for the rest
_MOST_WAITING = 32  # of one caller
_EVENT = 1_000  # what an event of a subscription costs at least, for its turn
_MOST_EVENTS = 100_000  # that wait: more than there can be subscriptions
_WAIT = "Too many of your operations wait for each other: try again in a few seconds."


class LimitedSchema(strawberry.Schema):
    """A schema that keeps valid documents, and refuses what is larger than `limits`.

    All transports come through it.
    """

    def __init__(self, *, limits: Limits, **parts: Any) -> None:  # noqa: ANN401 - Strawberry's own
        self.executor = _Executor if limits.introspection else _DiscreetExecutor
        super().__init__(execution_context_class=self.executor, **parts)
        let_null_mean_the_default(self._schema)
        self.limits = limits
        self._documents = DocumentCache()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="documents")
        self._readings = FairQueue(1, _MOST_WAITING, _WAIT)
        self._short_readings = FairQueue(1, _MOST_WAITING, _WAIT)
        self.work = FairQueue(_AT_ONCE * limits.max_cost, _MOST_WAITING, _WAIT)
        self.events = FairQueue(_CHEAP, _MOST_EVENTS, _WAIT, most_in_all=_MOST_EVENTS)

    def _extend_introspection(self) -> None:
        """Leave `isOneOf` to graphql-core: Strawberry's fails at lists and non-null types."""

    async def _prepare_operation_async(
        self, context: ExecutionContext, extensions_runner: SchemaExtensionsRunner
    ) -> PreExecutionError | None:
        """Parse and validate, or take the document from the cache. Only valid ones are in it."""
        query = context.query or ""
        document = self._documents.get(query)
        known = document is not None
        if document is not None:
            context.graphql_document, context.pre_execution_errors = document.node, []
        elif query:
            try:
                document, context.pre_execution_errors = await self._read_apart(query, context)
            except (GraphQLSyntaxError, RequestError) as error:
                return _refused(error)
            context.graphql_document = document.node
        # which operations are allowed is judged there, and whether there were errors
        failed = await super()._prepare_operation_async(context, extensions_runner)
        if failed is not None or document is None:
            return failed
        if not known:
            self._documents.put(query, document)
        # `operation_name` would tell the first operation's where none was given
        if context._provided_operation_name is None and document.operations > 1:  # noqa: SLF001 - see above
            return _refused(
                BadInputError("There are several operations: name one as `operationName`.")
            )
        return await self._within_limits(context, document)

    async def _read_apart(
        self, text: str, context: ExecutionContext
    ) -> tuple[ValidDocument, list[GraphQLError]]:
        """Read and validate in this thread, or in another what takes long."""
        if len(text) <= _SHORT:
            return self.read(text)
        if len(text) <= _MIDDLING:
            async with self._short_readings.place(_caller(context), 1):
                return self.read(text)
        async with self._readings.place(_caller(context), 1):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._reader, self.read, text)

    def read(self, text: str) -> tuple[ValidDocument, list[GraphQLError]]:
        """Read a document, which is valid where there are no errors.

        Raises GraphQLSyntaxError, TooComplexError.
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
        """Judge what comes with the document, and what the operation will cost."""
        if context.variables:
            errors = check_variables(context.variables, self.limits)
            if errors:
                return PreExecutionError(data=None, errors=errors)
        ours = context.context
        if not isinstance(ours, Context) or ours.services.kept is None:
            return None
        name, kept = context.operation_name, ours.services.kept
        ours.cost = cost = document.costs.cost(name, context.variables, ours.now, kept)
        if (context.operation_extensions or {}).get("cost") is True:
            context.extensions_results["cost"] = {
                "requested": cost.requested,
                "limit": self.limits.max_cost,
                "dearest": {"field": cost.dearest, "requested": cost.dearest_requested},
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
        """Give an event of a subscription its turn among those of all callers.

        As many are executed at once as are cheap together, and a dear one alone.
        """
        cost = context.cost.requested if context.cost else 0
        return self.events.place(context.caller.name, max(cost, _EVENT))

    @asynccontextmanager
    async def in_time(self, context: Context | None) -> AsyncIterator[None]:
        """Give the block as long as an operation may take; then stop all that it waits for.

        Raises UnavailableError where that was not enough.
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
                "(OPERATION_TIMEOUT): try again later, or ask for less."
            ) from None

    def process_errors(
        self, errors: list[Any], execution_context: ExecutionContext | None = None
    ) -> None:
        """Leave the logging to schema.errors, which knows what was meant for the caller."""


class _Executor(ColumnarExecutor):
    """Tells of only so many variables that do not fit their types."""

    @classmethod
    def build(cls, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - graphql-core's own
        built = super().build(*arguments, **named)
        return built[:MOST_ERRORS] if isinstance(built, list) else built


class _DiscreetExecutor(_Executor):
    """Suggests no names of the schema, where it is not to be told."""

    @classmethod
    def build(cls, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - graphql-core's own
        return super().build(*arguments, **{**named, "hide_suggestions": True})


def _caller(context: ExecutionContext) -> str:
    ours = context.context
    return ours.caller.name if isinstance(ours, Context) else ""


def _refused(error: RequestError | GraphQLError) -> PreExecutionError:
    if not isinstance(error, GraphQLError):
        error = GraphQLError(str(error), original_error=error)
    return PreExecutionError(data=None, errors=[error])
