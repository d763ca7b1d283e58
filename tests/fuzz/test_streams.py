"""WebSockets and event streams over raw sockets."""

import struct

import orjson
import pytest
from websockets.frames import Opcode

from tests.fuzz.budget import Case, cases
from tests.fuzz.concurrency import crowd
from tests.fuzz.frame_parsing import Frame, closes_in, frames_in
from tests.fuzz.frames import (
    HANDSHAKE,
    conversation,
    event_streams,
    handshake,
)
from tests.fuzz.response_checks import answers_in, judge, judge_errors, judge_result
from tests.fuzz.target import Target, exchange

pytestmark = pytest.mark.endurance

_CONVERSATIONS = 500
_EVENT_STREAMS = 400
_HANDSHAKES = 400
_SHARE = 0.1  # of the time, for each
_CODES = {1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1013}
_CODES |= {4400, 4401, 4403, 4406, 4408, 4409, 4429}


def _judge_frame(frame: Frame, closes: set[bytes]) -> None:
    """Check a frame of the server; `closes` are the close frames that the client sent."""
    assert frame.opcode != Opcode.BINARY
    if frame.opcode == Opcode.CLOSE:
        code = struct.unpack_from("!H", frame.data)[0] if frame.data else 1005
        assert code in _CODES or frame.data in closes, frame  # which the server repeats
        frame.data[2:].decode()
    elif frame.opcode == Opcode.TEXT:
        message = orjson.loads(frame.data)
        assert message["type"] in {"connection_ack", "next", "error", "complete", "pong"}, message
        if message["type"] == "next":
            judge_result(message["payload"])
        elif message["type"] == "error":
            judge_errors(message["payload"])


async def test_websockets(target: Target) -> None:
    async def try_one(case: Case) -> int:
        pieces = conversation(case.random)
        received = await exchange(target.address, pieces, handshake=HANDSHAKE)
        head, _, frames = received.partition(b"\r\n\r\n")
        try:
            assert head.startswith(b"HTTP/1.1 101"), head
            closes = closes_in(b"".join(pieces))
            for frame in frames_in(frames):
                _judge_frame(frame, closes)
        except Exception as error:
            error.add_note(f"to {pieces!r}: {received[:500]!r}")
            raise
        return len(pieces)

    sent = await crowd(cases("websocket", _CONVERSATIONS, _SHARE), try_one)
    print(f"{sent} frames")
    assert sent > 5 * _CONVERSATIONS


async def test_handshakes(target: Target) -> None:
    async def try_one(case: Case) -> int:
        pieces = [handshake(case.random), *conversation(case.random)[:2]]
        received = await exchange(target.address, pieces)
        try:
            for answer in answers_in(received):
                judge(answer)
        except Exception as error:
            error.add_note(f"to {pieces!r}: {received[:500]!r}")
            raise
        return 1

    sent = await crowd(cases("handshake", _HANDSHAKES, _SHARE), try_one)
    print(f"{sent} handshakes")


async def test_event_streams(target: Target) -> None:
    async def try_one(case: Case) -> int:
        request = event_streams(case.random)
        received = await exchange(target.address, [request])
        try:
            for answer in answers_in(received):
                judge(answer)
            for line in received.rpartition(b"\n")[0].splitlines():  # the last may be half
                if line.startswith(b"data: "):
                    judge_result(orjson.loads(line.removeprefix(b"data: ")))
        except Exception as error:
            error.add_note(f"to {request!r}: {received[:500]!r}")
            raise
        return 1

    sent = await crowd(cases("events", _EVENT_STREAMS, _SHARE), try_one)
    print(f"{sent} requests for streams")
