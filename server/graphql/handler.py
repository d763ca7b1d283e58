"""Handles queries and mutations: from the response cache, or by executing them."""

import re

from asgi_correlation_id import correlation_id
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from models.postgres.stopwatch import database_time
from resolvers.scheduling.event_loop_turns import yield_to_event_loop
from schema.context import Context
from schema.errors import STATUS, Lenience, answer_of, failure
from schema.execution.schema import LimitedSchema
from server.graphql.admission import Admission
from server.graphql.persisted_queries import BadHashError, PersistedQueries, check_hash
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import Operation, RequestRefusedError, refusal
from server.graphql.response import EncodedResponse, encode
from server.graphql.response_cache import HIT, ResponseCache

_OK = 200
# Apollo's clients then send the text together with the hash. Clients that accept only JSON expect
# status 200, as Apollo Server sends it; GraphQL's media type allows no 200 without data.
_UNKNOWN_HASH = failure(
    "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound", 404, Lenience.ANY_JSON
)
# A mutation or a subscription contains its keyword. A query that has the keyword in a comment or in
# a string matches too; it is only not cached.
_MAY_BE_NO_QUERY = re.compile(r"\b(?:mutation|subscription)\b", re.ASCII)


class OperationHandler:
    """Handles the operations of all transports and caches the responses that are public."""

    def __init__(self, schema: LimitedSchema, admission: Admission, cache: ResponseCache) -> None:
        self._schema = schema
        self._admission = admission
        self._cache = cache
        self._persisted = PersistedQueries()

    async def handle(self, request: GraphQLRequest) -> EncodedResponse:
        """Return the response from the cache, or compute it. Raises RequestRefusedError."""
        operation = request.operation
        self._admission.check_reader(request)
        query = self.text(operation)
        self._admission.check_ready(request, query)
        asks_cost = (operation.extensions or {}).get("cost") is True  # not a part of the cache key
        if request.private or asks_cost or not self._cache.usable:
            return await self._compute(request, query)
        key = query, operation.name, operation.canonical
        response = self._cache.get(key)
        if response is not None:
            request.cached = HIT
        elif _MAY_BE_NO_QUERY.search(query):
            return await self._compute(request, query)
        else:
            response, request.cached = await self._cache.compute(
                key, lambda: self._compute(request, query)
            )
        if operation.sha256 and response.ok:
            self._persisted.put(operation.sha256, query)
        return response

    def text(self, operation: Operation) -> str:
        """Return the text of the operation, looked up by its hash if only that was sent.

        Raises RequestRefusedError if the hash is unknown or is not the hash of the text.
        """
        query, sha256 = operation.query, operation.sha256
        if query is None:
            assert sha256 is not None  # noqa: S101 - read_operation requires one of them
            query = self._persisted.get(sha256)
            if query is None:
                raise RequestRefusedError(_UNKNOWN_HASH)
        elif sha256 is not None:
            try:
                check_hash(sha256, query)
            except BadHashError as error:
                raise refusal(str(error)) from None
        return query

    async def _compute(self, request: GraphQLRequest, query: str) -> EncodedResponse:
        """Execute an operation and encode its response."""
        context = self._admission.context(request)
        token = database_time.set(request.database)
        try:
            result = await execute(self._schema, request, query, context)
        except RequestRefusedError as error:
            return encode(error.answer, context.dependencies, headers=error.headers)
        finally:
            database_time.reset(token)
        answer = answer_of(result, correlation_id.get() or "")
        if answer.status == STATUS["RATE_LIMITED"]:
            # not shared with callers that wait for the same query
            raise RequestRefusedError(answer)
        if request.operation.sha256 and not isinstance(result, PreExecutionError):
            self._persisted.put(request.operation.sha256, query)
        dependencies = context.dependencies
        if request.database.seconds and not dependencies.tags:
            dependencies.mark_uncacheable()  # a read without a dependency has no invalidation
        if dependencies.uncacheable and answer.status == _OK:
            # A client that is notified of a finished refresh must read its prices afterwards.
            await self._cache.catch_up()
        await yield_to_event_loop()  # encoding a long response blocks the event loop
        with request.encoding:
            return encode(
                answer,
                dependencies,
                moment=context.now.timestamp(),
                ok=not (result.errors or request.private or _MAY_BE_NO_QUERY.search(query)),
            )


async def execute(
    schema: LimitedSchema, request: GraphQLRequest, query: str, context: Context
) -> ExecutionResult:
    """Execute a query, or a mutation sent by POST. Raises RequestRefusedError."""
    operation, method = request.operation, request.scope["method"]
    allowed = {OperationType.QUERY}
    if method == "POST":
        allowed.add(OperationType.MUTATION)
    try:
        return await schema.execute(
            query,
            variable_values=operation.variables,
            operation_name=operation.name,
            operation_extensions=operation.extensions,
            context_value=context,
            allowed_operation_types=allowed,
        )
    except CannotGetOperationTypeError as error:
        raise refusal(error.as_http_error_reason()) from None
    except InvalidOperationTypeError as error:
        raise _wrong_kind(error, method) from None


def _wrong_kind(error: InvalidOperationTypeError, method: str) -> RequestRefusedError:
    message = error.as_http_error_reason(method)
    if error.operation_type is OperationType.SUBSCRIPTION:
        message = (
            "A subscription needs a stream: send `Accept: text/event-stream`, "
            "or use a WebSocket with the subprotocol graphql-transport-ws."
        )
    if method == "POST":
        return refusal(message)
    return RequestRefusedError(failure("BAD_USER_INPUT", message, 405), Allow="POST")
