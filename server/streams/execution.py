"""Executes operations of streams: one payload for a query, one for each event of a subscription."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from hashlib import sha256

import orjson
import structlog
from asgi_correlation_id import correlation_id
from graphql import GraphQLError, OperationType
from strawberry.types import ExecutionResult

from resolvers.errors import UnavailableError
from schema.context import Context
from schema.errors import UNAVAILABLE, Answer, answer_of, failure, masked
from schema.execution.operation import OperationRefusedError, PreparedOperation
from schema.execution.schema import LimitedSchema
from schema.execution.subscription import SubscriptionOperation, open_subscription
from server.access.memory_budget import MemoryBudget, Reservation
from server.graphql.admission import Admission
from server.graphql.handler import OperationHandler
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import RequestParameters, RequestRefusedError
from server.graphql.response import EncodedResponse
from server.streams.renderings import Rendered, Renderings

log = structlog.get_logger("coingraph.streams")

LARGEST_SUBSCRIPTION = 16_000  # bytes of text and variables, in memory while it is open
_MOST_EACH = 64_000_000  # bytes of the operations of one caller: about 4,000 subscriptions
_MOST = 512_000_000  # bytes of the operations of all callers
_OPERATION = 8_000  # bytes of an operation without its document and variables
_TOKEN = 600  # bytes of a parsed document per token
_EXPANDED = 20  # the size of parsed JSON relative to its text
_TOO_MANY = (
    "Too many operations of your address are running over WebSockets and event streams: end some "
    "of them, or try again in a few seconds."
)
LARGEST_PAYLOAD = 4_000_000  # bytes: a payload is one message, encoded at once
Key = bytes
"""A digest of a subscription's text, the operation's name and its variables."""

Charge = Callable[[int], Awaitable[None]]
"""Spends points of the caller's account. Raises RateLimitedError."""


class SubscriptionPayloads:
    """The payloads of a subscription in JSON, one for each event.

    An event with the attribute `rendered`, a dict, is shared between subscribers: it is executed
    and encoded once for each `key`, and `rendered` caches the payload. `charge` is called for each
    event but the first, which was charged with the subscription. An event costs what the operation
    costs, or one point if its payload is cached.
    """

    def __init__(
        self,
        subscription: SubscriptionOperation,
        context: Context,
        key: Key | None,
        renderings: Renderings,
        charge: Charge | None = None,
    ) -> None:
        self._subscription = subscription
        self._services, self._caller, self._cost = context.services, context.caller, context.cost
        self._key = key
        self._renderings = renderings
        self._charge = charge
        self._request_id = correlation_id.get() or ""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Return a context manager with the payloads; it closes the source of events at its end.

        Iteration raises RequestRefusedError if the source fails.
        """
        try:
            async with contextlib.aclosing(self._stream()) as payloads:
                yield payloads
        finally:
            await self._subscription.close()

    async def _stream(self) -> AsyncGenerator[bytes, None]:
        paid = True
        try:
            async for event in self._subscription.events:
                if not paid and self._charge is not None:
                    await self._charge(self._price(event))
                paid = False
                yield await self._payload(event)
        except Exception as error:  # noqa: BLE001 - `answer_of` logs what it masks
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
            payload = await asyncio.shield(known)  # others may still wait if this subscriber leaves
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
    """Starts the operations of all streams and bounds their memory."""

    def __init__(
        self, schema: LimitedSchema, admission: Admission, handler: OperationHandler
    ) -> None:
        self.schema = schema
        self._admission = admission
        self._handler = handler
        self._renderings = Renderings()
        self.budget = MemoryBudget(_MOST_EACH, _MOST, _TOO_MANY)

    def admit(self, request: GraphQLRequest) -> None:
        """Raise RequestRefusedError if the caller may not read or the database is not ready."""
        self._admission.admit(request)
        self._admission.check_ready(request)

    def reserve(self, request: GraphQLRequest) -> Reservation:
        """Reserve memory for an operation until it has ended.

        Raises RequestRefusedError if the operations of the caller hold too much.
        """
        parameters = request.parameters
        size = sys.getsizeof(parameters.query) + _weight_of_variables(parameters.canonical)
        try:
            return self.budget.reserve(request.caller, _OPERATION + size)
        except UnavailableError as error:
            raise RequestRefusedError(failure(UNAVAILABLE, str(error))) from None

    async def begin(
        self, request: GraphQLRequest, reservation: Reservation
    ) -> bytes | SubscriptionPayloads:
        """Execute a query or a mutation and return its payload, or start a subscription.

        Raises RequestRefusedError if the operation cannot be executed.
        """
        await self._admission.charge_request(request)
        operation = await self._handler.prepare(request)
        if operation.kind is OperationType.SUBSCRIPTION:
            return await self._open(request, operation, reservation)
        response = await self._handler.handle(request, operation)
        return _payload_of(response)

    async def _open(
        self, request: GraphQLRequest, operation: PreparedOperation, reservation: Reservation
    ) -> SubscriptionPayloads:
        context = self._admission.context(request, operation.kind)
        parameters = request.parameters
        _check_size(operation.text, parameters)
        held = sys.getsizeof(operation.text) + operation.tokens * _TOKEN
        try:
            reservation.resize(_OPERATION + held + _weight_of_variables(parameters.canonical))
        except UnavailableError as error:
            raise RequestRefusedError(failure(UNAVAILABLE, str(error))) from None
        try:
            subscription = await open_subscription(
                self.schema, operation, parameters.variables, context
            )
        except OperationRefusedError as error:
            raise _refused(error.result, correlation_id.get() or "") from None
        charge = None if request.account is None else request.account.charge
        key = _key_of(operation.text, parameters)
        return SubscriptionPayloads(subscription, context, key, self._renderings, charge)


def _check_size(text: str, parameters: RequestParameters) -> None:
    size = len(text.encode()) + len(parameters.canonical)
    if size > LARGEST_SUBSCRIPTION:
        raise RequestRefusedError(
            failure(
                "OPERATION_TOO_COMPLEX",
                f"The subscription and its variables have {size:,} bytes. The limit is "
                f"{LARGEST_SUBSCRIPTION:,}, as they stay in memory while it is open: leave out "
                "comments and fields that you do not need.",
            )
        )


def _key_of(text: str, parameters: RequestParameters) -> Key:
    # A cryptographic hash: a collision would send the payloads of another subscription.
    parts = (text.encode(), (parameters.name or "").encode(), parameters.canonical)
    return sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).digest()


def _weight_of_variables(canonical: bytes) -> int:
    return _EXPANDED * len(canonical)


def _refused(result: ExecutionResult, request_id: str) -> RequestRefusedError:
    """Make the error of a result without data."""
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
                f"The response has {len(response.body.identity):,} bytes; a stream sends at most "
                f"{LARGEST_PAYLOAD:,} in one. Send a POST without a stream, or request less.",
            )
        )
    return response.body.identity
