"""Answers to queries and mutations: kept, or computed."""

import re

from asgi_correlation_id import correlation_id
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from models.postgres.stopwatch import database_time
from resolvers.scheduling.event_loop_turns import breathe
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
# Apollo's clients then send the text beside the hash. Those that know no other media type than
# JSON want 200, as Apollo Server answers; GraphQL's own allows no 200 without data.
_UNKNOWN_HASH = failure(
    "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound", 404, Lenience.ANY_JSON
)
# A mutation or a subscription cannot be written without its keyword. A query that has the word in
# a comment or in a string is taken for one too, and only not cached.
_MAY_BE_NO_QUERY = re.compile(r"\b(?:mutation|subscription)\b", re.ASCII)


class OperationHandler:
    """Answers the operations of all transports. Those that may be shown to others are kept."""

    def __init__(self, schema: LimitedSchema, admission: Admission, cache: ResponseCache) -> None:
        self._schema = schema
        self._admission = admission
        self._cache = cache
        self._persisted = PersistedQueries()

    async def handle(self, request: GraphQLRequest) -> EncodedResponse:
        """Take the answer from the cache, or compute it. Raises RequestRefusedError."""
        operation = request.operation
        self._admission.check_reader(request)
        query = self.text(operation)
        self._admission.check_ready(request, query)
        asks_cost = (operation.extensions or {}).get("cost") is True  # no part of the key
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
        """Give the operation's text, which may be known by its hash alone."""
        query, sha256 = operation.query, operation.sha256
        if query is None:
            assert sha256 is not None  # noqa: S101 - read_operation wants one of the two
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
        """Execute an operation and encode its answer."""
        context = self._admission.context(request)
        token = database_time.set(request.database)
        try:
            result = await execute(self._schema, request, query, context)
        except RequestRefusedError as error:
            return encode(error.answer, context.footprint, headers=error.headers)
        finally:
            database_time.reset(token)
        answer = answer_of(result, correlation_id.get() or "")
        if answer.status == STATUS["RATE_LIMITED"]:  # not told to others who ask the same
            raise RequestRefusedError(answer)
        if request.operation.sha256 and not isinstance(result, PreExecutionError):
            self._persisted.put(request.operation.sha256, query)
        footprint = context.footprint
        if request.database.seconds and not footprint.tags:
            footprint.changes_untold()  # something was read that nobody has told of
        if footprint.untold and answer.status == _OK:
            # who is told that a refresh is done is given its prices from then on
            await self._cache.catch_up()
        await breathe()  # all of a long answer is put together in one go
        with request.encoding:
            return encode(
                answer,
                footprint,
                moment=context.now.timestamp(),
                ok=not (result.errors or request.private or _MAY_BE_NO_QUERY.search(query)),
            )


async def execute(
    schema: LimitedSchema, request: GraphQLRequest, query: str, context: Context
) -> ExecutionResult:
    """Execute a query, or a mutation that was posted. Raises RequestRefusedError."""
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
            "A subscription is answered by a stream: send `Accept: text/event-stream`, "
            "or use a WebSocket with the subprotocol graphql-transport-ws."
        )
    if method == "POST":
        return refusal(message)
    return RequestRefusedError(failure("BAD_USER_INPUT", message, 405), Allow="POST")
