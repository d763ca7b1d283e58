"""From an operation to what is sent for it: one answer, or a payload for each event."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from hashlib import sha256
from typing import Any, TypeVar

import orjson
import structlog
from asgi_correlation_id import correlation_id
from graphql import GraphQLError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult

from resolvers.errors import UnavailableError
from schema.context import Context
from schema.errors import UNAVAILABLE, Answer, answer_of, failure, masked
from schema.execution.schema import LimitedSchema
from schema.execution.subscription import Subscription, read_subscription
from server.access.memory_budget import MemoryBudget, Reservation
from server.graphql.admission import Admission
from server.graphql.handler import OperationHandler
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import Operation, RequestRefusedError, refusal
from server.graphql.response import EncodedResponse
from server.streams.renderings import Rendered, Renderings

log = structlog.get_logger("coingraph.streams")

LARGEST_SUBSCRIPTION = 16_000  # bytes of its text and variables, which are kept while it lasts
_MOST_EACH = 64_000_000  # bytes that the operations of one caller hold: some 4,000 subscriptions
_MOST = 512_000_000  # of all together
_OPERATION = 8_000  # bytes that an operation takes besides its document and variables
_TOKEN = 600  # bytes of a parsed document for each token
_EXPANDED = 20  # how many times larger JSON is in memory
_TOO_MANY = (
    "Too many operations of your address are under way over WebSockets and event streams: end some "
    "of them, or try again in a few seconds."
)
LARGEST_PAYLOAD = 4_000_000  # bytes: it is one message, which is made and sent in one go
# A subscription cannot be written without its keyword.
_MAY_SUBSCRIBE = re.compile(r"\bsubscription\b", re.ASCII)

T = TypeVar("T")
Key = bytes
"""A digest of a subscription's text, the operation's name and its variables: kept for long."""

Charge = Callable[[int], Awaitable[None]]
"""Takes points from the caller's account. Raises RateLimitedError."""


class SubscriptionPayloads:
    """What is sent for each event of a subscription: JSON.

    Events with an attribute `rendered`, a dict, are shared with other subscribers: each is
    executed and encoded once for all who ask the same of it, and what that gave is kept there.
    `charge` is paid for each event but the first, which was paid when the subscription began: its
    cost, or one point where another one has executed it.
    """

    def __init__(
        self,
        subscription: Subscription,
        events: AsyncIterator[Any],
        context: Context,
        key: Key | None,
        renderings: Renderings,
        charge: Charge | None = None,
    ) -> None:
        self._subscription = subscription
        self._events = events
        self._services, self._caller, self._cost = context.services, context.caller, context.cost
        self._key = key
        self._renderings = renderings
        self._charge = charge
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
        paid = True
        try:
            async for event in self._events:
                if not paid and self._charge is not None:
                    await self._charge(self._price(event))
                paid = False
                yield await self._payload(event)
        except Exception as error:  # noqa: BLE001 - `answer_of` logs what the caller is not told
            result = ExecutionResult(None, [GraphQLError(str(error), original_error=error)])
            raise _refused(result, self._request_id) from None

    def _price(self, event: object) -> int:
        known = self._key is not None and self._key in (getattr(event, "rendered", None) or ())
        return 1 if known or self._cost is None else max(1, self._cost.requested)

    async def _payload(self, event: object) -> bytes:
        rendered: Rendered | None = getattr(event, "rendered", None)
        if rendered is None or self._key is None:
            return await self._render_in_turn(event)
        known = rendered.get(self._key)
        if isinstance(known, bytes):
            return known
        context = self._context()
        async with self._subscription.place(context):
            known = rendered.get(self._key)
            if known is None:
                if not self._renderings.has_room(rendered):
                    return await self._render(event, context)
                known = rendered[self._key] = asyncio.create_task(self._render(event, context))
            if isinstance(known, bytes):
                return known
            payload = await asyncio.shield(known)  # others may wait for it when this one has gone
            self._renderings.store(rendered, self._key, payload)
            return payload

    async def _render_in_turn(self, event: object) -> bytes:
        context = self._context()
        async with self._subscription.place(context):
            return await self._render(event, context)

    def _context(self) -> Context:
        return Context(self._services, self._caller, encoded=True, cost=self._cost)

    async def _render(self, event: object, context: Context) -> bytes:
        try:
            result = await self._subscription.execute(event, context)
            answer = answer_of(result, self._request_id)
        except Exception:
            log.exception("unexpected error")
            answer = masked(self._request_id)
        return orjson.dumps(answer.body)


class StreamOperations:
    """Begins the operations of all connections that stay open, and counts what they hold."""

    def __init__(
        self, schema: LimitedSchema, admission: Admission, handler: OperationHandler
    ) -> None:
        self.schema = schema
        self._admission = admission
        self._handler = handler
        self._renderings = Renderings()
        self.budget = MemoryBudget(_MOST_EACH, _MOST, _TOO_MANY)

    def admit(self, request: GraphQLRequest) -> None:
        """Raise RequestRefusedError where the caller may not read, or nobody can just now."""
        self._admission.admit(request)

    def reserve(self, request: GraphQLRequest) -> Reservation:
        """Count what an operation holds until it has ended.

        Raises RequestRefusedError where the caller has too many under way.
        """
        operation = request.operation
        size = sys.getsizeof(operation.query) + _weight_of_variables(operation.canonical)
        try:
            return self.budget.reserve(request.caller, _OPERATION + size)
        except UnavailableError as error:
            raise RequestRefusedError(failure(UNAVAILABLE, str(error))) from None

    async def begin(
        self, request: GraphQLRequest, reservation: Reservation
    ) -> bytes | SubscriptionPayloads:
        """Answer a query or a mutation, or open the stream of a subscription.

        Raises RequestRefusedError with what keeps an operation from being executed at all.
        """
        await self._admission.charge_request(request)
        text = self._handler.text(request.operation)
        if _MAY_SUBSCRIBE.search(text):
            try:
                return await self._open(request, text, reservation)
            except InvalidOperationTypeError:
                pass  # it only has the word somewhere
            except CannotGetOperationTypeError as error:
                raise refusal(error.as_http_error_reason()) from None
        response = await self._handler.handle(request)
        return _payload_of(response)

    async def _open(
        self, request: GraphQLRequest, text: str, reservation: Reservation
    ) -> SubscriptionPayloads:
        self._admission.admit(request)
        operation = request.operation
        context = self._admission.context(request)
        subscription = _passed(
            await read_subscription(self.schema, text, operation.variables, operation.name, context)
        )
        _check_size(text, operation)
        kept = sys.getsizeof(text) + subscription.tokens * _TOKEN
        try:
            reservation.resize(_OPERATION + kept + _weight_of_variables(operation.canonical))
        except UnavailableError as error:
            raise RequestRefusedError(failure(UNAVAILABLE, str(error))) from None
        events = _passed(await subscription.events(context))
        charge = None if request.account is None else request.account.charge
        key = _key_of(text, operation)
        return SubscriptionPayloads(subscription, events, context, key, self._renderings, charge)


def _check_size(text: str, operation: Operation) -> None:
    size = len(text.encode()) + len(operation.canonical)
    if size > LARGEST_SUBSCRIPTION:
        raise RequestRefusedError(
            failure(
                "OPERATION_TOO_COMPLEX",
                f"The subscription and its variables have {size:,} bytes; as they are kept for as "
                f"long as it lasts, {LARGEST_SUBSCRIPTION:,} are taken: leave out comments and "
                "fields that you do not need.",
            )
        )


def _key_of(text: str, operation: Operation) -> Key:
    # a cryptographic one: who could find another text with the same would be answered for others
    parts = (text.encode(), (operation.name or "").encode(), operation.canonical)
    return sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).digest()


def _weight_of_variables(canonical: bytes) -> int:
    return _EXPANDED * len(canonical)


def _passed(opened: T | ExecutionResult) -> T:
    if isinstance(opened, ExecutionResult):
        raise _refused(opened, correlation_id.get() or "")
    return opened


def _refused(result: ExecutionResult, request_id: str) -> RequestRefusedError:
    """Turn a result into errors alone, as there is nothing beside them."""
    answer = answer_of(result, request_id)
    return RequestRefusedError(Answer({"errors": answer.body["errors"]}, answer.status))


def _payload_of(response: EncodedResponse) -> bytes:
    if response.status != 200:  # noqa: PLR2004 - OK
        body = orjson.loads(response.body.identity)
        if "data" not in body:
            raise RequestRefusedError(Answer(body, response.status))
    if len(response.body.identity) > LARGEST_PAYLOAD:
        raise RequestRefusedError(
            failure(
                "OPERATION_TOO_COMPLEX",
                f"The answer has {len(response.body.identity):,} bytes; a stream takes up to "
                f"{LARGEST_PAYLOAD:,} of one. Ask by POST without a stream, or for less.",
            )
        )
    return response.body.identity
