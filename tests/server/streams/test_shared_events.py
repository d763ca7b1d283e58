"""A shared event is executed once for equal subscriptions."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import strawberry

from resolvers.errors import BadInputError
from schema.context import Access, Caller, Context, Services
from schema.execution.schema import LimitedSchema
from schema.execution.subscription import open_subscription
from schema.limits import Limits
from server.graphql.request_parsing import RequestRefusedError
from server.streams.execution import SubscriptionPayloads
from server.streams.renderings import Renderings

executed: list[int] = []
CALLER = Caller("test", Access.GRANTED, Access.GRANTED)
SERVICES = Services(None, None, None, None, None)  # type: ignore[arg-type] # none is used


@strawberry.type
class Tick:
    number: int
    rendered: strawberry.Private[dict[Any, Any] | None] = None

    @strawberry.field
    async def doubled(self) -> int:
        executed.append(self.number)
        await asyncio.sleep(0)
        return 2 * self.number

    @strawberry.field
    def broken(self) -> int:
        raise RuntimeError("a secret")


def tick(number: int) -> Tick:
    """Make a shared event."""
    return Tick(number=number, rendered={})


@dataclass
class Source:
    events: list[Any] = field(default_factory=list)
    closed: int = 0


source = Source()


@strawberry.type
class Query:
    nothing: int = 0


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, first: int = 0) -> AsyncGenerator[Tick, None]:
        try:
            for event in source.events[first:]:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            source.closed += 1


SCHEMA = LimitedSchema(limits=Limits(), query=Query, subscription=Subscription)
DOUBLED = "subscription { ticks { doubled } }"


@pytest.fixture(autouse=True)
def _clean() -> None:
    executed.clear()
    source.events.clear()
    source.closed = 0


async def payloads(query: str = DOUBLED, *, most: int = 100) -> list[Any]:
    context = Context(SERVICES, CALLER)
    opened = await open_subscription(SCHEMA, await SCHEMA.prepare(query), None, context)
    shown: list[Any] = []
    async with SubscriptionPayloads(
        opened, context, query.encode(), Renderings()
    ).opened() as stream:
        async for payload in stream:
            shown.append(orjson.loads(payload))
            if len(shown) == most:
                break
    return shown


async def test_an_event_is_executed_once_for_equal_subscriptions() -> None:
    source.events = [tick(number) for number in range(3)]
    answers = await asyncio.gather(*(payloads() for _ in range(50)))
    expected = [{"data": {"ticks": {"doubled": 2 * number}}} for number in range(3)]
    assert list(answers) == [expected] * 50
    assert executed == [0, 1, 2]
    assert source.closed == 50


async def test_other_subscriptions_have_their_own_payload() -> None:
    source.events = [tick(4)]
    other = "subscription { ticks { twice: doubled number } }"
    assert list(await asyncio.gather(payloads(), payloads(other))) == [
        [{"data": {"ticks": {"doubled": 8}}}],
        [{"data": {"ticks": {"twice": 8, "number": 4}}}],
    ]
    assert executed == [4, 4]


async def test_the_payloads_of_an_event_are_bounded() -> None:
    shared = tick(7)
    source.events = [shared]
    for number in range(200):
        [payload] = await payloads(f"subscription {{ ticks {{ a{number}: number }} }}")
        assert payload == {"data": {"ticks": {f"a{number}": 7}}}
    assert shared.rendered is not None
    assert len(shared.rendered) < 50


async def test_unshared_events_are_executed_for_their_subscriber() -> None:
    source.events = [Tick(number=5)]
    await asyncio.gather(payloads(), payloads())
    assert executed == [5, 5]


async def test_a_cancelled_subscriber_does_not_cancel_the_shared_payload() -> None:
    source.events = [tick(6)]
    first, second = asyncio.create_task(payloads()), asyncio.create_task(payloads())
    while not executed:  # noqa: ASYNC110 - a turn of the loop each
        await asyncio.sleep(0)
    first.cancel()
    assert await second == [{"data": {"ticks": {"doubled": 12}}}]
    assert executed == [6]


@pytest.mark.slow
async def test_an_unexpected_error_is_masked_and_the_stream_continues() -> None:
    source.events = [tick(1), tick(2)]
    first, second = await payloads("subscription { ticks { broken } }")
    for payload in (first, second):
        assert payload["data"] is None
        assert payload["errors"][0]["path"] == ["ticks", "broken"]
        assert payload["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        assert "secret" not in str(payload)


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (RuntimeError("a secret"), "INTERNAL_SERVER_ERROR", "Internal error."),
        (BadInputError("Do it otherwise."), "BAD_USER_INPUT", "Do it otherwise."),
    ],
)
async def test_a_source_that_fails_ends_the_operation(
    failure: Exception, code: str, message: str
) -> None:
    source.events = [tick(1), failure]
    with pytest.raises(RequestRefusedError) as refused:
        await payloads()
    [error] = refused.value.answer.body["errors"]
    assert error["extensions"]["code"] == code
    assert error["message"].startswith(message)
    assert list(refused.value.answer.body) == ["errors"]


async def test_a_stopped_subscriber_closes_its_source() -> None:
    source.events = [tick(number) for number in range(3)]
    assert len(await payloads(most=1)) == 1
    assert source.closed == 1
