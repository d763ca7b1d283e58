"""`/graphql`: GraphQL over HTTP, GraphiQL for browsers, and the entry to streams."""

import asyncio
import contextlib

import structlog
from asgi_correlation_id import correlation_id
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from resolvers.errors import UnavailableError
from schema.errors import UNAVAILABLE, failure, masked
from schema.execution.schema import LimitedSchema
from server.graphql.admission import Admission
from server.graphql.handler import OperationHandler
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import (
    RequestRefusedError,
    RequestRules,
    read_parameters,
    wants_events,
    wants_page,
)
from server.graphql.response import CachePolicy, EncodedResponse, NegotiatedResponse, encode
from server.graphql.response_cache import ResponseCache
from server.http.backpressure import PIECE, UNRESERVED, BackpressureBudget, send_body
from server.pages.graphiql import GRAPHIQL_PATH, PAGE_HEADERS, graphiql_page
from server.pages.static_files import send_static
from server.streams.endpoint import StreamEndpoint, StreamSettings

log = structlog.get_logger("coingraph.graphql")

_CLIENT_CLOSED_REQUEST = 499
_STOPPED = encode(failure(UNAVAILABLE, "The server is stopping. Try again in a few seconds."))


class GraphQLEndpoint:
    """The ASGI application at `/graphql`: operations for clients, GraphiQL for browsers."""

    def __init__(
        self,
        schema: LimitedSchema,
        admission: Admission,
        cache: ResponseCache,
        policy: CachePolicy,
        streams: StreamSettings,
        rules: RequestRules,
    ) -> None:
        self._admission = admission
        self.handler = OperationHandler(schema, admission, cache)
        self._policy = policy
        self._rules = rules
        self.backpressure = BackpressureBudget()
        # browsers load the page without a token, so it shows no schema that needs one
        self._shows_examples = schema.limits.introspection and admission.reads_are_open
        self.streams = StreamEndpoint(schema, admission, self.handler, streams, self.backpressure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "websocket":
            await self.streams.serve_socket(scope, receive, send)
            return
        request = self._admission.new_request(scope)
        if wants_page(scope, request.headers):
            await self._page(request, send)
            return
        reservation = UNRESERVED
        try:
            response = await self._respond(request, receive, send)
            if response is None:
                return
            reservation = self.backpressure.reserve(request.caller, response.body.identity)
            with request.encoding:
                negotiated = await self._negotiate(request, response, request.headers)
            reservation.resize(min(len(negotiated[2]), PIECE), negotiated[2])
            del response  # frees its other codings, unless it is cached
        except ClientDisconnect:  # the response is for the access log only
            await Response(status_code=_CLIENT_CLOSED_REQUEST)(scope, receive, send)
            return
        except UnavailableError as error:
            negotiated = await self._negotiate(
                request, encode(failure(UNAVAILABLE, str(error))), {}
            )
        except asyncio.CancelledError:  # the grace period of the stopping server is over
            negotiated = await self._negotiate(request, _STOPPED, {})
        except Exception:
            log.exception("unexpected error")
            # negotiation may have failed, so only the media type is negotiated
            accept = {b"accept": request.headers.get(b"accept", b"")}
            negotiated = await self._negotiate(
                request, encode(masked(correlation_id.get() or "")), accept
            )
        with reservation:
            await self._send(request, negotiated, send)

    async def _negotiate(
        self, request: GraphQLRequest, response: EncodedResponse, asked: dict[bytes, bytes]
    ) -> NegotiatedResponse:
        status, headers, content = await response.negotiate(asked)
        control = self._policy.cache_control(response, private=request.private)
        headers.append((b"cache-control", control))
        return status, headers, content

    async def _send(
        self, request: GraphQLRequest, negotiated: NegotiatedResponse, send: Send
    ) -> None:
        status, headers, content = negotiated
        headers += (
            (b"x-cache", request.cached),
            (b"server-timing", request.server_timing()),
            *request.rate_limit(),
        )
        await send({"type": "http.response.start", "status": status, "headers": headers})
        with contextlib.suppress(asyncio.CancelledError):  # the server stops and cuts it off
            await send_body(content, request.scope, send)

    async def _respond(
        self, request: GraphQLRequest, receive: Receive, send: Send
    ) -> EncodedResponse | None:
        """Return the response, None if it was sent as a stream."""
        try:
            await self._admission.charge_request(request)
            request.parameters = await read_parameters(
                request.scope, request.headers, receive, self._rules
            )
            if wants_events(request.scope, request.headers):
                await self.streams.serve_events(request, receive, send)
                return None
            return await self.handler.handle(request)
        except RequestRefusedError as error:
            return encode(error.answer, headers=error.headers)

    async def _page(self, request: GraphQLRequest, send: Send) -> None:
        scope = request.scope
        # Only the browser knows a prefix that the proxy strips without X-Forwarded-Prefix.
        root = f"{scope['root_path']}/" if scope["root_path"] else _relative_root(scope["raw_path"])
        page = graphiql_page(
            endpoint=f"{root}graphql",
            mount=root + GRAPHIQL_PATH.removeprefix("/"),
            examples=self._shows_examples,
        )
        await send_static(page, request, PAGE_HEADERS, send)


def _relative_root(raw_path: bytes) -> str:
    """Return the relative path from the page's address to the folder that has `graphql`."""
    return "../" * (len(raw_path) - len(raw_path.rstrip(b"/")))
