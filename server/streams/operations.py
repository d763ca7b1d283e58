"""From an operation to what is sent for it: one answer, or a payload for each event."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, TypeVar

import orjson
import structlog
from asgi_correlation_id import correlation_id
from graphql import GraphQLError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult

from schema.context import Context
from schema.errors import Answer, answer_of, failure, masked
from schema.operations import LimitedSchema
from schema.subscriptions import Subscription, read_subscription
from server.admission import Admission
from server.answers import Answers
from server.exchange import Exchange
from server.replies import Reply
from server.requests import RequestRefusedError, refusal

log = structlog.get_logger("coingraph.streams")

# A subscription cannot be written without its keyword.
LARGEST_PAYLOAD = 4_000_000  # bytes: it is one message, which is made and sent in one go
_MAY_SUBSCRIBE = re.compile(r"\bsubscription\b", re.ASCII)

_MOST_RENDERED = 32  # forms of one event; who asks for one more gets it, and it is not kept

T = TypeVar("T")
Key = tuple[str, str | None, bytes]


class Payloads:
    """What is sent for each event of a subscription: JSON.

    Events with an attribute `rendered`, a dict, are shared with other subscribers: each is
    executed and encoded once for all who ask the same of it, and what that gave is kept there.
    """

    def __init__(
        self,
        subscription: Subscription,
        events: AsyncIterator[Any],
        context: Context,
        key: Key | None,
    ) -> None:
        self._subscription = subscription
        self._events = events
        self._services, self._caller = context.services, context.caller
        self._key = key
        self._request_id = correlation_id.get() or ""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give them in a block, which closes the source of the events at its end.

        Iterating raises RequestRefusedError where the events end by a failure.
        """
        try:
            async with contextlib.aclosing(self._stream()) as payloads:
                yield payloads
        finally:
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()

    async def _stream(self) -> AsyncGenerator[bytes, None]:
        try:
            async for event in self._events:
                yield await self._payload(event)
        except Exception as error:  # noqa: BLE001 - `answer_of` logs what the caller is not told
            result = ExecutionResult(None, [GraphQLError(str(error), original_error=error)])
            raise _refused(result, self._request_id) from None

    async def _payload(self, event: object) -> bytes:
        rendered: dict[Key, bytes | asyncio.Task[bytes]] | None = getattr(event, "rendered", None)
        if rendered is None or self._key is None:
            return await self._render(event)
        known = rendered.get(self._key)
        if known is None:
            if len(rendered) >= _MOST_RENDERED:
                return await self._render(event)
            known = rendered[self._key] = asyncio.create_task(self._render(event))
        if isinstance(known, bytes):
            return known
        payload = await asyncio.shield(known)  # others may wait for it when this one has gone
        rendered[self._key] = payload
        return payload

    async def _render(self, event: object) -> bytes:
        try:
            result = await self._subscription.execute(
                event, Context(self._services, self._caller, encoded=True)
            )
            answer = answer_of(result, self._request_id)
        except Exception:
            log.exception("unexpected error")
            answer = masked(self._request_id)
        return orjson.dumps(answer.body)


class Operations:
    """Begins the operations of all connections that stay open."""

    def __init__(self, schema: LimitedSchema, admission: Admission, answers: Answers) -> None:
        self._schema = schema
        self._admission = admission
        self._answers = answers

    def admit(self, exchange: Exchange) -> None:
        """Raise RequestRefusedError where the caller may not read, or nobody can just now."""
        self._admission.admit(exchange)

    async def begin(self, exchange: Exchange) -> bytes | Payloads:
        """Answer a query or a mutation, or open the stream of a subscription.

        Raises RequestRefusedError with what keeps an operation from being executed at all.
        """
        await self._admission.enter(exchange)
        text = self._answers.text(exchange.operation)
        if _MAY_SUBSCRIBE.search(text):
            try:
                return await self._open(exchange, text)
            except InvalidOperationTypeError:
                pass  # it only has the word somewhere
            except CannotGetOperationTypeError as error:
                raise refusal(error.as_http_error_reason()) from None
        reply = await self._answers.answer(exchange)
        return _payload_of(reply)

    async def _open(self, exchange: Exchange, text: str) -> Payloads:
        self._admission.admit(exchange)
        operation = exchange.operation
        context = self._admission.context(exchange)
        subscription = _passed(
            await read_subscription(
                self._schema, text, operation.variables, operation.name, context
            )
        )
        events = _passed(await subscription.events(context))
        key = text, operation.name, operation.canonical
        return Payloads(subscription, events, context, key)


def _passed(opened: T | ExecutionResult) -> T:
    if isinstance(opened, ExecutionResult):
        raise _refused(opened, correlation_id.get() or "")
    return opened


def _refused(result: ExecutionResult, request_id: str) -> RequestRefusedError:
    """Turn a result into errors alone, as there is nothing beside them."""
    answer = answer_of(result, request_id)
    return RequestRefusedError(Answer({"errors": answer.body["errors"]}, answer.status))


def _payload_of(reply: Reply) -> bytes:
    if reply.status != 200:  # noqa: PLR2004 - OK
        body = orjson.loads(reply.body.identity)
        if "data" not in body:
            raise RequestRefusedError(Answer(body, reply.status))
    if len(reply.body.identity) > LARGEST_PAYLOAD:
        raise RequestRefusedError(
            failure(
                "OPERATION_TOO_COMPLEX",
                f"The answer has {len(reply.body.identity):,} bytes; a stream takes up to "
                f"{LARGEST_PAYLOAD:,} of one. Ask by POST without a stream, or for less.",
            )
        )
    return reply.body.identity
