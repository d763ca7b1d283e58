"""Timeouts of a WebSocket, without a real client."""

import asyncio

from starlette.types import Message, Send

from server.http.backpressure import BackpressureBudget
from server.http.scope_state import ABORT
from server.streams.sender import PeerGoneError, Sender
from server.streams.websocket import WebSocketConnection, fragment


async def nothing() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def wire_to(send: Send) -> Sender:
    return Sender({}, send, BackpressureBudget(), fragment)


def socket_on(sender: Sender, receive: object = nothing) -> WebSocketConnection:
    """Make a WebSocket whose client sends what `receive` returns."""
    return WebSocketConnection(
        None,  # type: ignore[arg-type] # no operation comes to it
        None,  # type: ignore[arg-type] # likewise
        receive,  # type: ignore[arg-type] # a coroutine function
        sender,
        most_operations=1,
        init_seconds=0.01,
    )


async def test_no_init_closes_with_4408() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await asyncio.wait_for(socket_on(wire_to(send)).serve(), 60)
    [close] = sent
    assert (close["type"], close["code"]) == ("websocket.close", 4408)


async def test_pings_do_not_replace_the_init() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        await asyncio.sleep(0.001)
        return {"type": "websocket.receive", "text": '{"type":"ping"}'}

    await asyncio.wait_for(socket_on(wire_to(send), receive).serve(), 60)
    assert sent[-1]["code"] == 4408


async def test_a_client_that_reads_nothing_is_aborted() -> None:
    aborted = asyncio.Event()

    async def send(_message: Message) -> None:
        await asyncio.Event().wait()

    sender = Sender(
        {"state": {ABORT: aborted.set}}, send, BackpressureBudget(), fragment, seconds=0.01
    )
    try:
        await asyncio.wait_for(sender.send({"type": "websocket.send", "text": "x"}), 60)
    except PeerGoneError:
        assert aborted.is_set()
    else:
        raise AssertionError
