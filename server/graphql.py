"""GraphQL over HTTP: from a request to an answer, kept or computed."""

import asyncio
import contextlib
import re
from collections.abc import Callable

import structlog
from asgi_correlation_id import correlation_id
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette_compress import CompressMiddleware
from strawberry.types.execution import PreExecutionError

from models.stopwatch import database_time
from resolvers.errors import RateLimitedError, RequestError
from resolvers.turns import breathe
from schema.context import Caller, Context, Services
from schema.documents import is_mutation
from schema.errors import STATUS, UNAVAILABLE, Lenience, answer_of, failure, masked, refused
from schema.operations import LimitedSchema
from schema.permissions import require_read, require_refresh
from server.auth import Authenticator
from server.cache import HIT, AnswerCache
from server.exchange import Exchange
from server.executing import execute
from server.graphiql import GRAPHIQL_PATH, graphiql_page
from server.persisted import BadHashError, PersistedQueries, check_hash
from server.rates import RateLimits
from server.replies import CachePolicy, Reply, encode
from server.requests import (
    Operation,
    RequestRefusedError,
    RequestRules,
    read_operation,
    refusal,
    wants_events,
    wants_page,
)
from server.streams.endpoint import StreamEndpoint, StreamSettings

log = structlog.get_logger("coingraph.graphql")

_OK = 200
_PIECE = 1 << 18  # bytes that are sent before waiting until the client has read
_CLIENT_CLOSED_REQUEST = 499
# Apollo's clients then send the text beside the hash. Those that know no other media type than
# JSON want 200, as Apollo Server answers; GraphQL's own allows no 200 without data.
_UNKNOWN_HASH = failure(
    "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound", 404, Lenience.ANY_JSON
)
_STOPPED = encode(failure(UNAVAILABLE, "The server is stopping. Try again in a few seconds."))
# A mutation or a subscription cannot be written without its keyword. A query that has the word in
# a comment or in a string is taken for one too, and only not cached.
_MAY_BE_NO_QUERY = re.compile(r"\b(?:mutation|subscription)\b", re.ASCII)


class GraphQLEndpoint:
    """`/graphql`: operations for clients, GraphiQL for browsers. An ASGI application.

    `services` is None until the database is ready.
    """

    def __init__(
        self,
        schema: LimitedSchema,
        authenticator: Authenticator,
        cache: AnswerCache,
        policy: CachePolicy,
        streams: StreamSettings,
        rules: RequestRules,
        rates: RateLimits | None = None,
    ) -> None:
        self._schema = schema
        self._authenticator = authenticator
        self._cache = cache
        self._policy = policy
        self._rules = rules
        self.rates = rates
        self._persisted = PersistedQueries()
        # the page is loaded without a token: what nobody is told without one is not in it
        self._shows_examples = schema.limits.introspection and authenticator.reads_are_open
        self._page = CompressMiddleware(self._serve_page)
        self.streams = StreamEndpoint(schema, self, streams)
        self.services: Services | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.streams.serve_socket(scope, receive, send)
            return
        exchange = self.exchange(scope)
        if wants_page(scope, exchange.headers):
            await self._page(scope, receive, send)
            return
        try:
            reply = await self._reply(exchange, receive, send)
            if reply is None:
                return
            with exchange.encoding:
                form = await reply.in_form(exchange.headers)
        except ClientDisconnect:  # nobody reads it but the log
            await Response(status_code=_CLIENT_CLOSED_REQUEST)(scope, receive, send)
            return
        except asyncio.CancelledError:  # the server stops, and has waited long enough
            reply = _STOPPED
            form = await reply.in_form({})
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
            *exchange.rate_limit(),
        )
        await send({"type": "http.response.start", "status": status, "headers": headers})
        with contextlib.suppress(asyncio.CancelledError):  # the server stops, and cuts it
            await _send_body(content, send)

    def exchange(self, scope: Scope) -> Exchange:
        exchange = Exchange(scope)
        exchange.private = (
            b"authorization" in exchange.headers or not self._authenticator.reads_are_open
        )
        return exchange

    async def _reply(self, exchange: Exchange, receive: Receive, send: Send) -> Reply | None:
        """Give the answer, or None once it was sent as a stream."""
        try:
            await self.enter(exchange)
            exchange.operation = await read_operation(
                exchange.scope, exchange.headers, receive, self._rules
            )
            if wants_events(exchange.scope, exchange.headers):
                await self.streams.serve_events(exchange, receive, send)
                return None
            return await self.answer(exchange)
        except RequestRefusedError as error:
            return encode(error.answer, headers=error.headers)

    async def enter(self, exchange: Exchange) -> None:
        """Charge the point that every request costs. Raises RequestRefusedError if none is left."""
        if self.rates is None or exchange.account is not None:
            return
        connection = HTTPConnection(exchange.scope)
        token = None
        if b"authorization" in exchange.headers:
            token = self._authenticator.known_token(connection)
        address = connection.client.host if connection.client else None
        exchange.account = self.rates.account(token, address)
        try:
            await exchange.account.charge(1)
        except RateLimitedError as error:
            raise RequestRefusedError(refused(error)) from None

    async def answer(self, exchange: Exchange) -> Reply:
        """Take the answer from the cache, or compute it. Raises RequestRefusedError."""
        operation = exchange.operation
        if exchange.private:
            self._authorize(exchange)
        query = self.text(operation)
        if self.services is None:
            raise self._not_ready(exchange, query)
        asks_cost = (operation.extensions or {}).get("cost") is True  # no part of the key
        if exchange.private or asks_cost or not self._cache.usable:
            return await self._compute(exchange, query)
        key = query, operation.name, operation.canonical
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

    def admit(self, exchange: Exchange) -> None:
        """Raise RequestRefusedError where the caller may not read, or nobody can just now."""
        if exchange.private:
            self._authorize(exchange)
        if self.services is None:
            raise self._not_ready(exchange, "")

    def _authorize(
        self, exchange: Exchange, require: Callable[[Caller], None] = require_read
    ) -> None:
        try:
            require(self._caller(exchange))
        except RequestError as error:
            raise RequestRefusedError(failure(error.code, str(error))) from None

    def _not_ready(self, exchange: Exchange, query: str) -> RequestRefusedError:
        """Refuse what needs the database; a mutation with a bad token for its token first."""
        if is_mutation(query, exchange.operation.name):
            self._authorize(exchange, require_refresh)
        return RequestRefusedError(
            failure(UNAVAILABLE, "The database is not ready yet. Try again in a few seconds.")
        )

    def _caller(self, exchange: Exchange) -> Caller:
        return self._authenticator.caller(HTTPConnection(exchange.scope))

    def context(self, exchange: Exchange) -> Context:
        """Make the context of an operation that was admitted."""
        assert self.services is not None  # noqa: S101 - `admit` looked
        account = exchange.account
        charge = None if account is None else account.charge_cost
        return Context(self.services, self._caller(exchange), encoded=True, charge=charge)

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

    async def _compute(self, exchange: Exchange, query: str) -> Reply:
        """Execute an operation and encode its answer."""
        context = self.context(exchange)
        token = database_time.set(exchange.database)
        try:
            result = await execute(self._schema, exchange, query, context)
        except RequestRefusedError as error:
            return encode(error.answer, context.footprint, headers=error.headers)
        finally:
            database_time.reset(token)
        answer = answer_of(result, correlation_id.get() or "")
        if answer.status == STATUS["RATE_LIMITED"]:  # not told to others who ask the same
            raise RequestRefusedError(answer)
        if exchange.operation.sha256 and not isinstance(result, PreExecutionError):
            self._persisted.put(exchange.operation.sha256, query)
        footprint = context.footprint
        if exchange.database.seconds and not footprint.tags:
            footprint.changes_untold()  # something was read that nobody has told of
        if footprint.untold and answer.status == _OK:
            # who is told that a refresh is done is given its prices from then on
            await self._cache.settle()
        await breathe()  # all of a long answer is put together in one go
        with exchange.encoding:
            return encode(
                answer,
                footprint,
                moment=context.now.timestamp(),
                ok=not (result.errors or exchange.private or _MAY_BE_NO_QUERY.search(query)),
            )

    async def _serve_page(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = str(scope.get("root_path", ""))  # a proxy's
        page = graphiql_page(
            endpoint=f"{prefix}/graphql",
            mount=prefix + GRAPHIQL_PATH,
            examples=self._shows_examples,
        )
        await page(scope, receive, send)


async def _send_body(content: bytes, send: Send) -> None:
    """Send an answer piece by piece, each when most of the ones before has been read."""
    for start in range(0, len(content) or 1, _PIECE):
        piece, more = content[start : start + _PIECE], start + _PIECE < len(content)
        await send({"type": "http.response.body", "body": piece, "more_body": more})
