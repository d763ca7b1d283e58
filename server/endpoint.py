"""GraphQL over HTTP: from a request to the bytes of its answer."""

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
from server.access.memory_budget import Held
from server.graphql.admission import Admission
from server.graphql.exchange import Exchange
from server.graphql.handler import Answers
from server.graphql.request import (
    RequestRefusedError,
    RequestRules,
    read_operation,
    wants_events,
    wants_page,
)
from server.graphql.response import CachePolicy, Form, Reply, encode
from server.graphql.response_cache import AnswerCache
from server.http.backpressure import PIECE, Outgoing, send_body
from server.pages.graphiql import GRAPHIQL_PATH, PAGE_HEADERS, graphiql_page
from server.pages.static_files import send_static
from server.streams.endpoint import StreamEndpoint, StreamSettings

log = structlog.get_logger("coingraph.graphql")

_CLIENT_CLOSED_REQUEST = 499
_STOPPED = encode(failure(UNAVAILABLE, "The server is stopping. Try again in a few seconds."))


class GraphQLEndpoint:
    """`/graphql`: operations for clients, GraphiQL for browsers. An ASGI application."""

    def __init__(
        self,
        schema: LimitedSchema,
        admission: Admission,
        cache: AnswerCache,
        policy: CachePolicy,
        streams: StreamSettings,
        rules: RequestRules,
    ) -> None:
        self._admission = admission
        self.answers = Answers(schema, admission, cache)
        self._policy = policy
        self._rules = rules
        self.outgoing = Outgoing()
        # the page is loaded without a token: what nobody is told without one is not in it
        self._shows_examples = schema.limits.introspection and admission.reads_are_open
        self.streams = StreamEndpoint(schema, admission, self.answers, streams, self.outgoing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.streams.serve_socket(scope, receive, send)
            return
        exchange = self._admission.exchange(scope)
        if wants_page(scope, exchange.headers):
            await self._page(exchange, send)
            return
        held = Held(None, "")
        try:
            reply = await self._reply(exchange, receive, send)
            if reply is None:
                return
            held = self.outgoing.hold(exchange.caller, reply.body.identity)
            with exchange.encoding:
                form = await self._form(exchange, reply, exchange.headers)
            held.change(min(len(form[2]), PIECE), form[2])
            del reply  # and so, but in the cache, what its other forms hold
        except ClientDisconnect:  # nobody reads it but the log
            await Response(status_code=_CLIENT_CLOSED_REQUEST)(scope, receive, send)
            return
        except UnavailableError as error:
            form = await self._form(exchange, encode(failure(UNAVAILABLE, str(error))), {})
        except asyncio.CancelledError:  # the server stops, and has waited long enough
            form = await self._form(exchange, _STOPPED, {})
        except Exception:
            log.exception("unexpected error")
            # what may have failed is the form, so all of it is left out but the media type
            accept = {b"accept": exchange.headers.get(b"accept", b"")}
            form = await self._form(exchange, encode(masked(correlation_id.get() or "")), accept)
        with held:
            await self._send(exchange, form, send)

    async def _form(self, exchange: Exchange, reply: Reply, asked: dict[bytes, bytes]) -> Form:
        status, headers, content = await reply.in_form(asked)
        control = self._policy.cache_control(reply, private=exchange.private)
        headers.append((b"cache-control", control))
        return status, headers, content

    async def _send(self, exchange: Exchange, form: Form, send: Send) -> None:
        status, headers, content = form
        headers += (
            (b"x-cache", exchange.cached),
            (b"server-timing", exchange.server_timing()),
            *exchange.rate_limit(),
        )
        await send({"type": "http.response.start", "status": status, "headers": headers})
        with contextlib.suppress(asyncio.CancelledError):  # the server stops, and cuts it
            await send_body(content, exchange.scope, send)

    async def _reply(self, exchange: Exchange, receive: Receive, send: Send) -> Reply | None:
        """Give the answer, or None once it was sent as a stream."""
        try:
            await self._admission.enter(exchange)
            exchange.operation = await read_operation(
                exchange.scope, exchange.headers, receive, self._rules
            )
            if wants_events(exchange.scope, exchange.headers):
                await self.streams.serve_events(exchange, receive, send)
                return None
            return await self.answers.answer(exchange)
        except RequestRefusedError as error:
            return encode(error.answer, headers=error.headers)

    async def _page(self, exchange: Exchange, send: Send) -> None:
        scope = exchange.scope
        # A prefix that the proxy does not name is in the browser's address alone.
        root = f"{scope['root_path']}/" if scope["root_path"] else _way_up(scope["raw_path"])
        page = graphiql_page(
            endpoint=f"{root}graphql",
            mount=root + GRAPHIQL_PATH.removeprefix("/"),
            examples=self._shows_examples,
        )
        await send_static(page, exchange, PAGE_HEADERS, send)


def _way_up(raw_path: bytes) -> str:
    """Lead from the page's address to where `graphql` is, relatively."""
    return "../" * (len(raw_path) - len(raw_path.rstrip(b"/")))
