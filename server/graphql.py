"""GraphQL over HTTP: from a request to an answer, kept or computed."""

import re
from typing import Any

import orjson
import strawberry
import structlog
from asgi_correlation_id import correlation_id
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette_compress import CompressMiddleware
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from models.stopwatch import database_time
from resolvers.errors import RequestError
from schema.context import Caller, Context, Services
from schema.errors import UNAVAILABLE, answer_of, failure, masked
from schema.permissions import require_read
from server.auth import Authenticator
from server.cache import HIT, AnswerCache
from server.exchange import Exchange
from server.graphiql import GRAPHIQL_PATH, graphiql_page
from server.persisted import BadHashError, PersistedQueries, check_hash
from server.replies import CachePolicy, Reply, encode
from server.requests import (
    Operation,
    RequestRefusedError,
    read_operation,
    refusal,
    wants_page,
)

log = structlog.get_logger("coingraph.graphql")

_CLIENT_CLOSED_REQUEST = 499
# As Apollo Server answers it, status included: its clients then send the text beside the hash.
_UNKNOWN_HASH = failure("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound", 200)
# A mutation or a subscription cannot be written without its keyword. A query that has the word in
# a comment or in a string is taken for one too, and only not cached.
_MAY_BE_NO_QUERY = re.compile(r"\b(?:mutation|subscription)\b", re.ASCII)


class GraphQLEndpoint:
    """`/graphql`: operations for clients, GraphiQL for browsers. An ASGI application.

    `services` is None until the database is ready.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        authenticator: Authenticator,
        cache: AnswerCache,
        policy: CachePolicy,
    ) -> None:
        self._schema = schema
        self._authenticator = authenticator
        self._cache = cache
        self._policy = policy
        self._persisted = PersistedQueries()
        self._page = CompressMiddleware(_page)
        self.services: Services | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope)
        if wants_page(scope, exchange.headers):
            await self._page(scope, receive, send)
            return
        exchange.private = (
            b"authorization" in exchange.headers or not self._authenticator.reads_are_open
        )
        try:
            reply = await self._reply(exchange, receive)
            with exchange.encoding:
                form = await reply.in_form(exchange.headers)
        except ClientDisconnect:  # nobody reads it but the log
            await Response(status_code=_CLIENT_CLOSED_REQUEST)(scope, receive, send)
            return
        except Exception:
            log.exception("unexpected error")
            reply = encode(masked(correlation_id.get() or ""))
            # what may have failed is the form, so all of it is left out but the media type
            accept = exchange.headers.get(b"accept", b"")
            form = await reply.in_form({b"accept": accept})
        status, headers, content = form
        headers += (
            (b"cache-control", self._policy.cache_control(reply, private=exchange.private)),
            (b"x-cache", exchange.cached),
            (b"server-timing", exchange.server_timing()),
        )
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _reply(self, exchange: Exchange, receive: Receive) -> Reply:
        try:
            exchange.operation = await read_operation(exchange.scope, exchange.headers, receive)
            return await self._answer(exchange)
        except RequestRefusedError as refused:
            return encode(refused.answer, headers=refused.headers)

    async def _answer(self, exchange: Exchange) -> Reply:
        """Take the answer from the cache, or compute it. Raises RequestRefusedError."""
        operation = exchange.operation
        if exchange.private:
            self._authorize(exchange)
        if self.services is None:
            raise RequestRefusedError(
                failure(UNAVAILABLE, "The database is not ready yet. Try again in a few seconds.")
            )
        query = self._text(operation)
        variables = _canonical(operation.variables)
        asks_cost = (operation.extensions or {}).get("cost") is True  # no part of the key
        if exchange.private or variables is None or asks_cost or not self._cache.usable:
            return await self._compute(exchange, query)
        key = query, operation.name, variables
        reply = self._cache.get(key)
        if reply is not None:
            exchange.cached = HIT
        elif _MAY_BE_NO_QUERY.search(query):
            return await self._compute(exchange, query)
        else:
            reply, exchange.cached = await self._cache.compute(
                key, lambda: self._compute(exchange, query)
            )
        if operation.sha256 and reply.ok:
            self._persisted.put(operation.sha256, query)
        return reply

    def _authorize(self, exchange: Exchange) -> None:
        try:
            require_read(self._caller(exchange))
        except RequestError as error:
            raise RequestRefusedError(failure(error.code, str(error))) from None

    def _caller(self, exchange: Exchange) -> Caller:
        return self._authenticator.caller(HTTPConnection(exchange.scope))

    def _text(self, operation: Operation) -> str:
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

    async def _compute(self, exchange: Exchange, query: str) -> Reply:
        """Execute an operation and encode its answer."""
        assert self.services is not None  # noqa: S101 - `_answer` looked
        context = Context(self.services, self._caller(exchange), encoded=True)
        token = database_time.set(exchange.database)
        try:
            result = await self._execute(exchange, query, context)
        except RequestRefusedError as refused:
            return encode(refused.answer, context.footprint, headers=refused.headers)
        finally:
            database_time.reset(token)
        if exchange.operation.sha256 and not isinstance(result, PreExecutionError):
            self._persisted.put(exchange.operation.sha256, query)
        answer, footprint = answer_of(result, correlation_id.get() or ""), context.footprint
        if exchange.database.seconds and not footprint.tags:
            footprint.changes_untold()  # something was read that nobody has told of
        if footprint.untold:
            # who is told that a refresh is done is given its prices from then on
            await self._cache.settle()
        with exchange.encoding:
            return encode(
                answer,
                footprint,
                moment=context.now.timestamp(),
                ok=not (result.errors or exchange.private or _MAY_BE_NO_QUERY.search(query)),
            )

    async def _execute(self, exchange: Exchange, query: str, context: Context) -> ExecutionResult:
        operation, method = exchange.operation, exchange.scope["method"]
        allowed = {OperationType.QUERY}
        if method == "POST":
            allowed.add(OperationType.MUTATION)
        try:
            return await self._schema.execute(
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
            message = error.as_http_error_reason(method)
            if method == "POST":
                raise refusal(message) from None
            raise RequestRefusedError(
                failure("BAD_USER_INPUT", message, 405), Allow="POST"
            ) from None


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    prefix = str(scope.get("root_path", ""))  # a proxy's
    page = graphiql_page(endpoint=f"{prefix}/graphql", mount=prefix + GRAPHIQL_PATH)
    await page(scope, receive, send)


def _canonical(variables: dict[str, Any] | None) -> bytes | None:
    """Write equal variables alike. None where they are nested deeper than orjson writes."""
    if not variables:
        return b""
    try:
        return orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None
