"""The schema that parses, validates, limits and executes operations."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from inspect import isawaitable
from typing import Any

import strawberry
from graphql import GraphQLError
from graphql.execution import Executor
from strawberry.execution import optimized_is_awaitable
from strawberry.types import ExecutionResult

from models.postgres.connection_share import limit_operation_connections
from resolvers.errors import UnavailableError
from resolvers.scheduling.event_loop_turns import begin_operation, turn_has_room
from resolvers.scheduling.fair_queue import FairQueue
from schema.context import Context
from schema.cost import Cost, check_cost
from schema.execution import gathering
from schema.execution.columnar import ColumnarExecutor
from schema.execution.document_cache import DocumentCache
from schema.execution.graphql_core_patch import patch
from schema.execution.null_defaults import replace_null_with_default
from schema.execution.operation import (
    OperationRefusedError,
    PreparedDocument,
    PreparedOperation,
    refused,
)
from schema.limits import (
    MOST_ERRORS,
    Limits,
    check_variables,
    read_document,
    validate_document,
)

patch()
gathering.install()

# Lengths of documents in characters. Short ones are parsed at once while the turn of the event loop
# has time left, else like middling ones: one per turn. Longer ones are parsed in a thread.
_SHORT, _MIDDLING = 500, 1_500
_CHEAP = 20_000  # the highest cost of an operation that does not queue
_AT_ONCE = 2  # most expensive operations in progress at once, which bounds their memory
_MANY = 5  # other operations that queue, in progress at once: leaves connections for cheap ones
_MOST_WAITING = 32  # places of one caller
_MOST_SHORT = 1_000  # the same for short documents: clients without variables send many at once
_EVENT = 1_000  # the minimum cost of a subscription's event
_MOST_EVENTS = 100_000  # waiting events: more than there can be subscriptions
_WAIT = "Too many of your operations are waiting: try again in a few seconds."


class LimitedSchema(strawberry.Schema):
    """A Strawberry schema that prepares each operation once and rejects those beyond `limits`.

    All transports call `prepare`, then `run` or, for subscriptions, `open_subscription`.
    """

    def __init__(self, *, limits: Limits, **parts: Any) -> None:  # noqa: ANN401 - Strawberry's own
        self.executor = _Executor if limits.introspection else _ExecutorWithoutSuggestions
        super().__init__(execution_context_class=self.executor, **parts)
        replace_null_with_default(self._schema)
        self.limits = limits
        self._documents = DocumentCache()
        self._being_read: dict[str, asyncio.Task[PreparedDocument]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="documents")
        self._readings = FairQueue(1, _MOST_WAITING, _WAIT)
        self._short_readings = FairQueue(1, _MOST_WAITING, _WAIT)
        self._shortest_readings = FairQueue(1, _MOST_SHORT, _WAIT, most_in_all=2 * _MOST_SHORT)
        self.work = FairQueue(_AT_ONCE * limits.max_cost, _MOST_WAITING, _WAIT)
        self.events = FairQueue(_CHEAP, _MOST_EVENTS, _WAIT, most_in_all=_MOST_EVENTS)

    def _extend_introspection(self) -> None:
        """Leave `isOneOf` to graphql-core: Strawberry's fails for lists and non-null types."""

    async def prepare(
        self, text: str, name: str | None = None, caller: str = ""
    ) -> PreparedOperation:
        """Return the operation of a document; without a name, the only one.

        Each document is parsed, validated and planned once while it is cached. `caller` identifies
        the caller's place in the queue for long ones. Raises OperationRefusedError.
        """
        document = self._documents.get(text)
        try:
            if document is None:
                document = await self._read(text, caller)
            return document.select(name)
        except OperationRefusedError:
            raise
        except Exception as error:  # noqa: BLE001 - schema.errors masks and logs what is unexpected
            raise refused(error) from None

    async def _read(self, text: str, caller: str) -> PreparedDocument:
        """Read a document here, or in a thread if it is long; equal ones only once at a time."""
        if len(text) <= _SHORT and turn_has_room():
            return self._read_now(text)
        while (reading := self._being_read.get(text)) is not None:
            with contextlib.suppress(UnavailableError):  # for the other caller's waiting operations
                return await asyncio.shield(reading)
        reading = self._being_read[text] = asyncio.create_task(self._read_in_turn(text, caller))
        reading.add_done_callback(partial(self._has_read, text))
        return await asyncio.shield(reading)  # others may still wait for it if this caller leaves

    async def _read_in_turn(self, text: str, caller: str) -> PreparedDocument:
        if len(text) <= _SHORT:
            async with self._shortest_readings.place(caller, 1):
                return self._read_now(text)
        if len(text) <= _MIDDLING:
            async with self._short_readings.place(caller, 1):
                return self._read_now(text)
        async with self._readings.place(caller, 1):
            loop = asyncio.get_running_loop()
            document = await loop.run_in_executor(self._reader, self.read, text)
        self._documents.put(text, document)
        return document

    def _has_read(self, text: str, reading: asyncio.Task[PreparedDocument]) -> None:
        del self._being_read[text]
        if not reading.cancelled():
            reading.exception()  # retrieved, as all callers may have left

    def _read_now(self, text: str) -> PreparedDocument:
        document = self.read(text)
        self._documents.put(text, document)
        return document

    def read(self, text: str) -> PreparedDocument:
        """Parse, validate and plan. Raises GraphQLSyntaxError and other errors of the caller."""
        node = read_document(text, self.limits)
        errors = validate_document(self._schema, node, self.limits)
        if errors:
            raise refused(*errors)
        return PreparedDocument(self._schema, text, node)

    async def run(
        self,
        operation: PreparedOperation,
        variables: dict[str, Any] | None,
        context: Context | None,
        *,
        with_cost: bool = False,
    ) -> ExecutionResult:
        """Execute a query or a mutation; `with_cost` adds its cost to the result's extensions.

        Returns a PreExecutionError if it exceeds a limit.
        """
        try:
            await self.check(operation, variables, context)
            result = await self._execute(operation, variables, context)
        except OperationRefusedError as error:
            result = error.result
        except Exception as error:  # noqa: BLE001 - schema.errors masks and logs what is unexpected
            result = refused(error).result
        if with_cost and context is not None and context.cost is not None:
            result.extensions = {"cost": self._shown(context.cost)}
        return result

    async def check(
        self,
        operation: PreparedOperation,
        variables: dict[str, Any] | None,
        context: Context | None,
    ) -> None:
        """Check the variables and the cost, and charge the cost to the caller's rate limit.

        Raises OperationRefusedError and RequestError.
        """
        if variables:
            errors = check_variables(variables, self.limits)
            if errors:
                raise refused(*errors)
        if context is None or context.services.extent is None:
            return
        context.cost = cost = operation.costs.cost(
            operation.name, variables, context.now, context.services.extent
        )
        check_cost(cost, self.limits.max_cost)
        if context.charge is not None:
            await context.charge(cost.requested)

    def _shown(self, cost: Cost) -> dict[str, Any]:
        return {
            "requested": cost.requested,
            "limit": self.limits.max_cost,
            "dearest": {"field": cost.costliest, "requested": cost.costliest_requested},
        }

    async def _execute(
        self,
        operation: PreparedOperation,
        variables: dict[str, Any] | None,
        context: Context | None,
    ) -> ExecutionResult:
        cost = context.cost.requested if context is not None and context.cost else 0
        async with self.in_time(context):
            if cost <= _CHEAP:
                return await self._complete(operation, variables, context)
            size = max(cost, _AT_ONCE * self.limits.max_cost // _MANY)
            async with self.work.place(context.caller.name if context else "", size):
                return await self._complete(operation, variables, context)

    async def _complete(
        self,
        operation: PreparedOperation,
        variables: dict[str, Any] | None,
        context: Context | None,
    ) -> ExecutionResult:
        executor = self.executor_of(operation, variables, context)
        if isinstance(executor, list):
            return ExecutionResult(data=None, errors=executor)
        executed = executor.execute_operation()
        result: Any = await executed if isawaitable(executed) else executed
        return ExecutionResult(data=result.data, errors=result.errors)

    def executor_of(
        self,
        operation: PreparedOperation,
        variables: dict[str, Any] | None,
        context: Context | None,
        root_value: object = None,
    ) -> Executor[Any] | list[GraphQLError]:
        """Build graphql-core's executor, or return the errors of the variables."""
        executor: Executor[Any] | list[GraphQLError] = self.executor.build(
            self._schema,
            operation.document,
            root_value,
            context,
            variables,
            operation.name,
            is_awaitable=optimized_is_awaitable,
        )
        return executor

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,  # noqa: ANN401 - likewise
        root_value: Any = None,  # noqa: ANN401 - likewise
        operation_name: str | None = None,
        allowed_operation_types: Iterable[Any] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Prepare and run an operation in one step: Strawberry's interface, within the limits.

        `root_value` and `allowed_operation_types` are not supported.
        """
        if root_value is not None or allowed_operation_types is not None:
            raise NotImplementedError
        try:
            operation = await self.prepare(query or "", operation_name)
        except OperationRefusedError as error:
            return error.result
        with_cost = (operation_extensions or {}).get("cost") is True
        return await self.run(operation, variable_values, context_value, with_cost=with_cost)

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
        begin_operation(context.caller.name if context is not None else "")
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
