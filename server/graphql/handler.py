"""Handles queries and mutations: from the response cache, or by executing them."""

from asgi_correlation_id import correlation_id
from graphql import OperationType

from models.postgres.stopwatch import database_time
from resolvers.scheduling.event_loop_turns import yield_to_event_loop
from schema.errors import STATUS, Lenience, answer_of, failure
from schema.execution.operation import OperationRefusedError, PreparedOperation
from schema.execution.schema import LimitedSchema
from server.graphql.admission import Admission
from server.graphql.persisted_queries import BadHashError, PersistedQueries, check_hash
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import RequestParameters, RequestRefusedError, refusal
from server.graphql.response import EncodedResponse, encode
from server.graphql.response_cache import HIT, Key, ResponseCache

_OK = 200
# Apollo's clients then send the text together with the hash. Clients that accept only JSON expect
# status 200, as Apollo Server sends it; GraphQL's media type allows no 200 without data.
_UNKNOWN_HASH = failure(
    "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound", 404, Lenience.ANY_JSON
)


class OperationHandler:
    """Handles the operations of all transports and caches the responses that are public."""

    def __init__(self, schema: LimitedSchema, admission: Admission, cache: ResponseCache) -> None:
        self._schema = schema
        self._admission = admission
        self._cache = cache
        self._persisted = PersistedQueries()

    async def handle(
        self, request: GraphQLRequest, operation: PreparedOperation | None = None
    ) -> EncodedResponse:
        """Return the response from the cache, or compute it. Raises RequestRefusedError.

        `operation` is that of `prepare`, which is called if it is needed.
        """
        key = self._cache_key(request)
        # only queries that anyone may read are cached
        if key is not None and (response := self._cache.get(key)) is not None:
            request.cached = HIT
            self._register(request.parameters, key[0])
            return response
        operation = operation or await self.prepare(request)
        _check_kind(operation.kind, request.scope["method"])
        if key is None or operation.kind is not OperationType.QUERY:
            return await self._compute(request, operation)
        response, request.cached = await self._cache.compute(
            key, lambda: self._compute(request, operation)
        )
        return response

    async def prepare(self, request: GraphQLRequest) -> PreparedOperation:
        """Return the operation that an admitted request names. Raises RequestRefusedError."""
        self._admission.admit(request)
        parameters = request.parameters
        text = self._text(parameters)
        try:
            operation = await self._schema.prepare(text, parameters.name, request.caller)
        except OperationRefusedError as error:
            raise RequestRefusedError(answer_of(error.result, correlation_id.get() or "")) from None
        self._register(parameters, text)
        return operation

    def _cache_key(self, request: GraphQLRequest) -> Key | None:
        """Return the key of a response that may be cached; None if the request bypasses the cache.

        Raises RequestRefusedError.
        """
        parameters = request.parameters
        asks_cost = parameters.asks_cost  # not a part of the key
        if request.private or asks_cost or not self._cache.usable:
            return None
        return self._text(parameters), parameters.name, parameters.canonical

    def _text(self, parameters: RequestParameters) -> str:
        """Return the text of the operation, looked up by its hash if only that was sent.

        Raises RequestRefusedError if the hash is unknown or is not the hash of the text.
        """
        query, sha256 = parameters.query, parameters.sha256
        if query is None:
            assert sha256 is not None  # noqa: S101 - read_parameters requires one of them
            query = self._persisted.get(sha256)
            if query is None:
                raise RequestRefusedError(_UNKNOWN_HASH)
        elif sha256 is not None:
            try:
                check_hash(sha256, query)
            except BadHashError as error:
                raise refusal(str(error)) from None
        return query

    def _register(self, parameters: RequestParameters, text: str) -> None:
        if parameters.sha256:
            self._persisted.put(parameters.sha256, text)

    async def _compute(
        self, request: GraphQLRequest, operation: PreparedOperation
    ) -> EncodedResponse:
        """Execute an operation and encode its response."""
        context = self._admission.context(request, operation.kind)
        parameters = request.parameters
        token = database_time.set(request.database)
        try:
            result = await self._schema.run(
                operation, parameters.variables, context, with_cost=parameters.asks_cost
            )
        finally:
            database_time.reset(token)
        answer = answer_of(result, correlation_id.get() or "")
        if answer.status == STATUS["RATE_LIMITED"]:
            # not shared with callers that wait for the same query
            raise RequestRefusedError(answer)
        dependencies = context.dependencies
        if request.database.seconds and not dependencies.tags:
            dependencies.mark_uncacheable()  # a read without a dependency has no invalidation
        if dependencies.uncacheable and answer.status == _OK:
            # A client that is notified of a finished refresh must read its prices afterwards.
            await self._cache.catch_up()
        await yield_to_event_loop()  # encoding a long response blocks the event loop
        public = operation.kind is OperationType.QUERY and not request.private
        with request.encoding:
            return encode(
                answer,
                dependencies,
                moment=context.now.timestamp(),
                ok=public and not result.errors,
            )


def _check_kind(kind: OperationType, method: str) -> None:
    """Raise RequestRefusedError for a subscription, and for a mutation unless it came by POST."""
    if kind is OperationType.QUERY or (kind is OperationType.MUTATION and method == "POST"):
        return
    message = f"Mutations are not allowed with {method}: send a POST."
    if kind is OperationType.SUBSCRIPTION:
        message = (
            "A subscription needs a stream: send `Accept: text/event-stream`, "
            "or use a WebSocket with the subprotocol graphql-transport-ws."
        )
    if method == "POST":
        raise refusal(message)
    raise RequestRefusedError(failure("BAD_USER_INPUT", message, 405), Allow="POST")
