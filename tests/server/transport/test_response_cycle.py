"""Responses have the same bytes as uvicorn's, in one write where that is possible."""

import asyncio
import contextlib
import logging
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from server.transport.response_cycle import ResponseCycle

_LENGTHS = st.sampled_from([None, b"0", b"3", b"005", b"7"])
_HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"X-One", b"etag", b"Connection", b"transfer-encoding", b"bad name"]),
        st.sampled_from([b"", b"close", b"x, Close", b"chunked", b"a\r\nb: c", b"caf\xe9"]),
    ),
    max_size=3,
)
_BODIES = st.lists(st.sampled_from([b"", b"abc", b"abcde", b"abcdefg"]), max_size=3)


class _Flow:
    write_paused = False


class _Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True


def _messages(
    status: int, length: bytes | None, headers: list[tuple[bytes, bytes]], bodies: list[bytes]
) -> list[dict[str, Any]]:
    given_headers = [*headers, *([(b"Content-Length", length)] if length else [])]
    start = {"type": "http.response.start", "status": status, "headers": given_headers}
    parts = [
        {"type": "http.response.body", "body": body, "more_body": index < len(bodies) - 1}
        for index, body in enumerate(bodies)
    ]
    return [start, *parts]


def _sent(kind: type[RequestResponseCycle], method: str, *, keep: bool, messages: Any) -> Any:
    transport = _Transport()
    ended: list[bool] = []
    cycle = RequestResponseCycle(
        scope={"method": method},  # type: ignore[typeddict-item] # the only key that is used
        transport=transport,  # type: ignore[arg-type] # what is used of it
        flow=_Flow(),  # type: ignore[arg-type] # likewise
        logger=logging.getLogger(__name__),
        access_logger=logging.getLogger(__name__),
        access_log=False,
        default_headers=[(b"server", b"x")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep,
        on_response=lambda: ended.append(True),
    )
    cycle.__class__ = kind
    failed = ""

    async def send() -> None:
        nonlocal failed
        try:
            for message in messages:
                await cycle.send(message)
        except RuntimeError as error:
            failed = str(error)

    with contextlib.closing(send()) as sending, contextlib.suppress(StopIteration):
        sending.send(None)  # it never waits
    state = cycle.response_started, cycle.response_complete, cycle.keep_alive, ended
    return transport.written, transport.closed, state, failed


@given(
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    status=st.sampled_from([200, 204, 304, 404, 500]),
    length=_LENGTHS,
    headers=_HEADERS,
    bodies=_BODIES,
    keep=st.booleans(),
)
def test_the_bytes_are_those_of_uvicorn(
    *,
    method: str,
    status: int,
    length: bytes | None,
    headers: list[tuple[bytes, bytes]],
    bodies: list[bytes],
    keep: bool,
) -> None:
    messages = _messages(status, length, headers, bodies)
    theirs = _sent(RequestResponseCycle, method, keep=keep, messages=messages)
    ours = _sent(ResponseCycle, method, keep=keep, messages=messages)
    if "Invalid HTTP header" in theirs[3]:  # uvicorn stops at the first one
        assert "Invalid HTTP header" in ours[3]
        assert not ours[0]
        return
    assert ours[1:] == theirs[1:]
    held_back = len(messages) == 1  # only the head, which is written with the body
    if not held_back and not ours[3]:
        assert b"".join(ours[0]) == b"".join(theirs[0])


def test_a_short_response_is_one_write() -> None:
    messages = _messages(200, b"3", [], [b"abc"])
    [written], *_ = _sent(ResponseCycle, "GET", keep=True, messages=messages)
    assert written == b"HTTP/1.1 200 OK\r\nserver: x\r\ncontent-length: 3\r\n\r\nabc"
