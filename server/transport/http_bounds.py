"""The connection of a client: what uvicorn's protocol leaves unbounded.

Its own limits end where a whole head has arrived. Here are those before that, after an early
answer, for requests that wait behind an answer, and for clients that do not read answers.
docs/security.md lists them.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import httptools
import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from schema.errors import UNAVAILABLE, failure
from server.http.access_log import log_refusal
from server.http.scope_state import LATE
from server.http.security_headers import SECURITY_HEADERS
from server.transport.backlog import Backlogs, HoldingFlow

HEAD_SECONDS = 10.0
BODY_SECONDS = 15.0
LARGEST_HEAD = 32_000  # bytes of the request line and all headers
# What may come of one message altogether. A client that only reads the answer once it has sent all
# must be let send it; its body is thrown away.
MOST_BYTES = 16_000_000
LINGER_SECONDS = 5.0
STALLED_SECONDS = 15.0
_LONGEST_LENGTH = 18  # digits: more bytes than any body may have
MOST_LINES = 128  # headers and trailers of one message; as many as a WebSocket's handshake may have
MOST_VALUES = 200  # values and parameters in all lists of one head
MOST_ESCAPES = 200  # percent signs in a path
READ_AHEAD = 16_384  # bytes behind a request that are read before its answer is complete
# A head is found by its end. Searching begins behind the shortest one, `GET / HTTP/1.1`, and behind
# some bytes of a chunked body, so that a body of empty lines is not fed in pieces of four bytes.
_END_OF_HEAD = b"\r\n\r\n"
_SHORTEST_HEAD = 14
_SHORTEST_CHUNKS = 18
_LONGEST_PIECE = 4096  # bytes of heads and chunks that are parsed before the bounds are checked
_log = logging.getLogger("uvicorn.http")
_HEAD_TOO_LARGE = f"The address and the headers are larger than {LARGEST_HEAD:,} bytes."
_TOO_MANY_LINES = f"There are more than {MOST_LINES} headers."
_TOO_MANY_VALUES = f"The headers list more than {MOST_VALUES} values and parameters."
_TOO_MANY_ESCAPES = f"The path has more than {MOST_ESCAPES} percent signs."
_TOO_MUCH_UNREAD = "Too many requests of this address have not arrived completely. Try again later."
_EXPECT, _LENGTH, _CODING, _LIST = range(4)
_KINDS = {  # lists are those that somebody takes apart
    b"expect": _EXPECT,
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    **dict.fromkeys(
        (
            *(b"accept", b"accept-encoding", b"access-control-request-headers", b"connection"),
            *(b"if-none-match", b"range", b"sec-websocket-extensions", b"sec-websocket-protocol"),
            *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-prefix", b"x-forwarded-proto"),
        ),
        _LIST,
    ),
}


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools with limits on heads, on what is left over, on slow reading.

    One request is parsed at a time: what comes behind it is held as bytes, and parsed when its
    answer is complete. Only where the end of a chunked body, or of a head that came in several
    pieces, and a whole head come in one piece may that one request wait in uvicorn's `pipeline`.
    docs/decisions/0038-one-request-per-connection-at-a-time.md
    """

    flow: HoldingFlow
    _in_head = True
    _refusal: tuple[int, str] | None = None  # why the parsing was ended, where it was ours to end
    _received = 0  # bytes of this message
    _lines = 0  # headers and trailers of this message
    _listed = 0  # bytes of lists in this head
    _body_left = 0  # bytes that this body still has by its Content-Length; 0 and less in chunks
    _held = b""  # what is not parsed yet, from `_next` on
    _next = 0
    _has_begun = False  # a message has, perhaps with no more than a part of its first line
    _counted = 0  # bytes of this connection that `Backlogs` knows
    _deadline: asyncio.TimerHandle | None = None  # of what is being sent to us
    _answering: RequestResponseCycle | None = None  # others may wait behind it: pipelined ones
    _reading: asyncio.TimerHandle | None = None  # when the client's reading is looked at again
    _unheeded_upgrade = False  # this head asks for one: it is read again without

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*given, **named)
        self.logger = _log  # not the one that tells of the server's start
        self._codings: list[bytes] = []  # of the body that comes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self.flow = HoldingFlow(transport)
        self._expire(HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_deadline()
        self._unset_reading()
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            # uvicorn tells only the request that came last
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()
        self._held = b""
        self._next = 0
        self._count(0)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._is_one_request(data):  # as nearly all arrive
            self._parse(data, 0, len(data))
            if self._received:
                self._hold(data, len(data))
                self._limit_time()
            return
        if self._held:
            data = self._held[self._next :] + data
        self._take(data, 0)

    def _is_one_request(self, data: bytes) -> bool:
        """Whether one small request begins here, perhaps with its body, and none behind it."""
        answering = self._answering
        if self._received or (answering is not None and not answering.response_complete):
            return False
        end = data.find(_END_OF_HEAD, 0, _LONGEST_PIECE)
        if end < 0:
            return False
        end += len(_END_OF_HEAD)
        size = len(data)
        return size == end or (size < READ_AHEAD and data.find(_END_OF_HEAD, end) < 0)

    def _is_behind(self) -> bool:
        """Whether what comes next must wait for an answer to be complete."""
        answering = self._answering
        return (
            answering is not None
            and not answering.response_complete
            and (self._in_head or bool(self.pipeline))
        )

    def _take(self, data: bytes, start: int) -> None:
        """Parse from `start` on what may be parsed now, and hold the rest."""
        size = len(data)
        while start < size and not self._is_behind() and not self.transport.is_closing():
            start = self._parse(data, start, self._end_of_piece(data, start))
        if self._received or self._held or self._counted or start < size:
            self._hold(data, start)
            self._limit_time()

    def _hold(self, data: bytes, start: int) -> None:
        """Hold what is left, and read on only while that is little."""
        if self.transport.is_closing():
            return  # `connection_lost` frees the rest
        left = len(data) - start
        if left and not self._may_wait(left):
            left = 0
        self._held, self._next = (data, start) if left else (b"", 0)
        if left > READ_AHEAD:
            self.flow.hold()
        else:
            self.flow.release()
        arriving = not self._in_head and not self.cycle.response_complete and not self._is_behind()
        if not self._count(self._received if arriving else left):
            self.refuse(503, _TOO_MUCH_UNREAD, UNAVAILABLE)

    def _may_wait(self, size: int) -> bool:
        """Whether so many bytes that came behind a request will be parsed after its answer.

        Where that is too much to hold, this answer is the connection's last one. A client that
        pipelines sends again what was not answered: RFC 9112, 9.3.2.
        """
        answering = self._answering
        assert answering is not None  # noqa: S101 - `_is_behind`, or all would have been parsed
        if answering.keep_alive and self._count(size):
            return True
        answering.keep_alive = False
        self._received += size
        if self._received > MOST_BYTES:
            self.transport.abort()
        return False

    def _count(self, size: int) -> bool:
        """Count what this connection holds, if it is more than a few bytes."""
        size = size if size > READ_AHEAD else 0
        if size == self._counted:
            return True
        app: Any = self.config.app  # Starlette's
        backlogs: Backlogs = app.state.application.backlogs
        if not backlogs.change(self.client[0] if self.client else None, size - self._counted):
            return False
        self._counted = size
        return True

    def _limit_time(self) -> None:
        """Limit the time in which the rest of a message must come, where one has begun."""
        if self._deadline is not None or self._is_behind() or self.transport.is_closing():
            return
        if not self._in_head:
            self._expire(BODY_SECONDS, self._body_is_late)
        elif self._received:
            self._expire(HEAD_SECONDS, self._head_is_late)

    def _parse(self, data: bytes, start: int, end: int) -> int:
        """Parse a piece in which no more than one request begins; where the next piece begins."""
        self._received += end - start
        if self._received > MOST_BYTES:
            self.transport.abort()
            return end
        piece = data if end - start == len(data) else memoryview(data)[start:end]
        try:
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.flow.release()
                    self.handle_websocket_upgrade()
                    return len(data)
                end = start + upgrade.args[0]
                head = self._begin_without_upgrade()
                self.parser.feed_data(head)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._in_head and self._received > LARGEST_HEAD:
            self.refuse(431, _HEAD_TOO_LARGE)
        return end

    def _end_of_piece(self, data: bytes, start: int) -> int:
        if self._body_left > 0 and not self._in_head:  # in a head, more headers come before it
            return min(len(data), start + self._body_left)
        end = min(len(data), start + _LONGEST_PIECE)
        if not self._in_head:
            first = start + _SHORTEST_CHUNKS
        elif self._has_begun:  # the last piece may have ended within what ends the head
            first = max(0, start + 1 - len(_END_OF_HEAD))
        else:
            first = start + _SHORTEST_HEAD
        found = data.find(_END_OF_HEAD, first, end)
        return end if found < 0 else found + len(_END_OF_HEAD)

    def _begin_without_upgrade(self) -> memoryview:
        """Give the head to go on with as if no other protocol had been asked for.

        A server is free to. httptools takes all after such a head for that protocol; uvicorn drops
        what of it has come already and reads the rest as requests, so that a body could be one that
        no proxy has seen.
        """
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/"]
        head += [self.parser.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += [name, b": ", value, b"\r\n"]
        self._unheeded_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return memoryview(b"".join((*head, b"\r\n")))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._has_begun = True
        self._lines = self._listed = self._body_left = 0
        if self._codings:
            self._codings = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, without the space behind its value, which httptools leaves there."""
        self._lines += 1
        if self._lines > MOST_LINES:
            self._end_parsing(431, _TOO_MANY_LINES)
        if not self._in_head:  # a trailer, which nobody reads
            return
        name = name.lower()
        value = value.rstrip(b" \t")
        kind = _KINDS.get(name)
        if kind is None:
            pass
        elif kind == _LIST:
            self._listed += len(value)
        elif kind == _CODING:
            self._codings.append(value.lower())
        elif kind == _LENGTH:
            # any number of zeros is legal before it; httptools refuses all but digits
            value = value.lstrip(b"0")[:_LONGEST_LENGTH] or b"0"
            self._body_left = int(value)
        elif value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def _end_parsing(self, status: int, message: str) -> NoReturn:
        """End it, by `send_400_response`."""
        self._refusal = status, message
        raise ValueError(message)

    def on_body(self, body: bytes) -> None:
        self._body_left -= len(body)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unset_deadline()
        if self._received > LARGEST_HEAD and self._head_size() > LARGEST_HEAD:
            self._end_parsing(431, _HEAD_TOO_LARGE)
        if self._listed > MOST_VALUES and self._values() > MOST_VALUES:
            self._end_parsing(431, _TOO_MANY_VALUES)
        if len(self.url) > MOST_ESCAPES and self._escapes() > MOST_ESCAPES:
            self._end_parsing(400, _TOO_MANY_ESCAPES)
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("There are no tunnels here.")
        if self._codings and self._is_coded():
            raise ValueError("Bodies come with Content-Length, or in HTTP/1.1 as plain chunks.")
        self._unheeded_upgrade = self.parser.should_upgrade() and not self._should_upgrade()
        if not self._unheeded_upgrade:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._unheeded_upgrade:
            return
        super().on_message_complete()
        self._received = self._body_left = 0
        self._in_head = True
        self._has_begun = False
        self._unset_deadline()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        if self._answering is None or self._answering.response_complete:
            # `connection_lost` will come to the protocol of the WebSocket
            self._unset_deadline()
            self._unset_reading()
            self._held, self._next = b"", 0
            self._count(0)
            super().handle_websocket_upgrade()
            if self.flow.write_paused:  # by an answer that is not read; nobody tells it again
                self.transport.get_protocol().pause_writing()
        else:
            self.transport.close()  # frames would go in between what is being answered

    def on_response_complete(self) -> None:
        super().on_response_complete()
        unread = self.cycle.response_complete and not self._in_head
        if unread and not self.transport.is_closing():
            self._expire(LINGER_SECONDS, self.transport.close)  # of who still sends
        if self._held:
            self._unset_keepalive_if_required()
            self._take(self._held, self._next)
        elif self._received:
            self._limit_time()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, though not while its answer is still being read."""
        if self.transport.get_write_buffer_size():
            self._watch_reader(closing=True)
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unset_reading()

    def send_400_response(self, msg: str) -> None:
        self.refuse(*(self._refusal or (400, msg)))

    def _head_size(self) -> int:
        """Count as if each line had been written without a needless space."""
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n\r\n")
        return line + sum(len(n) + len(value) + 4 for n, value in self.headers)

    def _values(self) -> int:
        """Count what the lists of this head have, parameters included."""
        lists = (value for name, value in self.headers if _KINDS.get(name) == _LIST)
        return sum(value.count(b",") + value.count(b";") for value in lists)

    def _escapes(self) -> int:
        """Count what uvicorn decodes in the path; those that begin no escape cost the most."""
        end = self.url.find(b"?")
        return self.url.count(b"%", 0, len(self.url) if end < 0 else end)

    def _is_coded(self) -> bool:
        """Whether the body is in a transfer coding that we do not know, or that cannot be."""
        return self._codings != [b"chunked"] or self.parser.get_http_version() == "1.0"

    def _watch_reader(self, *, closing: bool = False) -> None:
        """Let go of a client that takes nothing of its answer for a while."""
        unread = self.transport.get_write_buffer_size()

        def look() -> None:
            left = self.transport.get_write_buffer_size()
            if left >= unread > 0:
                self.transport.abort()
            elif left:
                self._watch_reader(closing=closing)
            elif closing:
                self.transport.close()

        self._unset_reading()
        self._reading = self.loop.call_later(STALLED_SECONDS, look)

    def _unset_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _body_is_late(self) -> None:
        """Wake who waits for the body; a timeout around each wait would cost all requests."""
        self.scope["state"][LATE] = True
        self.cycle.message_event.set()

    def _head_is_late(self) -> None:
        self._deadline = None
        if self._received:
            self.refuse(408, f"The headers did not arrive within {HEAD_SECONDS:g} seconds.")
        else:
            self.transport.close()

    def refuse(self, status: int, message: str, code: str = "BAD_USER_INPUT") -> None:
        """Answer what never became a request, and close.

        Nothing is written into an answer that has begun, or behind it in the place of the next one.
        """
        if self.transport.is_closing():
            return
        answering = self._answering
        if (
            answering is not None
            and answering.response_started
            and not (answering.response_complete and self._in_head)
        ):
            self.transport.abort()
            return
        content = orjson.dumps(failure(code, message, status).body)
        app: Any = self.config.app  # Starlette's
        origins = app.state.application.origins
        more = origins.response_headers(self._origin())
        lines = (b"%b: %b\r\n" % header for header in (*early_headers(content), *more))
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", content)))
        self.transport.close()
        log_refusal(status, self.client[0] if self.client else None)

    def _origin(self) -> str | None:
        """Name the origin of the page that asks, as far as the head has arrived."""
        found = (value for name, value in self.headers or () if name == b"origin")
        origin = next(found, None)
        return None if origin is None else origin.decode("latin-1")

    def _expire(self, seconds: float, then: Callable[[], None]) -> None:
        self._unset_deadline()
        self._deadline = self.loop.call_later(seconds, then)

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def early_headers(content: bytes) -> Sequence[tuple[bytes, bytes]]:
    """Give the headers of an answer to what never became a request."""
    return (
        *SECURITY_HEADERS,
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % len(content)),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    )
