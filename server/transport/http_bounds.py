"""Bounds that uvicorn's HTTP protocol lacks.

They cover incomplete request heads, bytes that arrive after an early response, pipelined requests,
and clients that do not read their responses. docs/security.md lists them.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NoReturn

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from schema.errors import UNAVAILABLE
from server.http.access_log import log_rejected_request
from server.http.scope_state import BODY_TIMED_OUT
from server.transport.backlog import BacklogBudget, PausableFlowControl
from server.transport.early_errors import early_response
from server.transport.head_limits import (
    CODING,
    KINDS,
    LARGEST_HEAD,
    LENGTH,
    LIST,
    MOST_LINES,
    TOO_LARGE,
    TOO_MANY_LINES,
    exceeded,
)
from server.transport.response_cycle import ResponseCycle

HEAD_SECONDS = 10.0
BODY_SECONDS = 15.0
# The largest message. A client that reads the response only after sending its whole request must be
# able to send it; the body is discarded.
MOST_BYTES = 16_000_000
LINGER_SECONDS = 5.0
STALLED_SECONDS = 15.0
_LONGEST_LENGTH = 18  # digits of Content-Length: more bytes than any body may have
READ_AHEAD = 16_384  # bytes after a request that are read before its response is complete
# This separator ends a head. The search begins after the shortest request line, `GET / HTTP/1.1`,
# or after some bytes of a chunked body; else a body of empty lines would be parsed in pieces of
# four bytes.
_END_OF_HEAD = b"\r\n\r\n"
_SHORTEST_HEAD = 14
_SHORTEST_CHUNKS = 18
_LONGEST_PIECE = 4096  # bytes of heads and chunks that are parsed before the bounds are checked
_log = logging.getLogger("uvicorn.http")
_TOO_MUCH_UNREAD = "Too many requests of this address are incomplete. Try again later."


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with limits on heads, on pipelined bytes and on slow reading.

    One request is parsed at a time: the bytes after it are held unparsed until its response is
    complete. One exception: if the end of a chunked body, or of a head in several pieces, arrives
    in one piece with a whole head, then that one request waits in uvicorn's `pipeline`.
    docs/decisions/0038-one-request-per-connection-at-a-time.md
    """

    flow: PausableFlowControl
    _in_head = True
    _refusal: tuple[int, str] | None = None  # status and message if this class stopped the parser
    _received = 0  # bytes of the current message
    _lines = 0  # headers and trailers of the current message
    _listed = 0  # bytes of list headers in the current head
    _body_left = 0  # remaining bytes of this body by its Content-Length; 0 or negative if chunked
    _held = b""  # unparsed bytes, from `_next` on
    _next = 0
    _has_begun = False  # a message has begun, perhaps with a part of its first line
    _counted = 0  # bytes of this connection in the BacklogBudget
    _deadline: asyncio.TimerHandle | None = None  # of the message being received
    _answering: RequestResponseCycle | None = None  # pipelined requests wait behind it
    _reading: asyncio.TimerHandle | None = None  # the next check that the client reads
    _ignored_upgrade = False  # the head requests an upgrade and is parsed again without it

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*given, **named)
        self.logger = _log  # not uvicorn.error, which logs at INFO
        self._codings: list[bytes] = []  # transfer codings of the current body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Set the deadline of the first request head."""
        super().connection_made(transport)
        self.flow = PausableFlowControl(transport)
        self._expire(HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release all that the connection holds."""
        self._unset_deadline()
        self._unset_reading()
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            # uvicorn notifies only the last request
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()
        self._held = b""
        self._next = 0
        self._count(0)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, or hold them until a response is complete."""
        self._unset_keepalive_if_required()
        if self._is_one_request(data):  # the common case
            self._parse(data, 0, len(data))
            if self._received:
                self._hold(data, len(data))
                self._limit_time()
            return
        if self._held:
            data = self._held[self._next :] + data
        self._parse_or_hold(data, 0)

    def _is_one_request(self, data: bytes) -> bool:
        """Return True if `data` is the start of one small request with no other after it."""
        answering = self._answering
        if self._received or (answering is not None and not answering.response_complete):
            return False
        end = data.find(_END_OF_HEAD, 0, _LONGEST_PIECE)
        if end < 0:
            return False
        end += len(_END_OF_HEAD)
        size = len(data)
        return size == end or (size < READ_AHEAD and data.find(_END_OF_HEAD, end) < 0)

    def _must_wait(self) -> bool:
        """Return True if the next bytes must wait until a response is complete."""
        answering = self._answering
        return (
            answering is not None
            and not answering.response_complete
            and (self._in_head or bool(self.pipeline))
        )

    def _parse_or_hold(self, data: bytes, start: int) -> None:
        """Parse what may be parsed now, from `start` on, and hold the rest."""
        size = len(data)
        while start < size and not self._must_wait() and not self.transport.is_closing():
            start = self._parse(data, start, self._end_of_piece(data, start))
        if self._received or self._held or self._counted or start < size:
            self._hold(data, start)
            self._limit_time()

    def _hold(self, data: bytes, start: int) -> None:
        """Hold the bytes from `start` on; pause reading if they exceed READ_AHEAD."""
        if self.transport.is_closing():
            return  # `connection_lost` frees the rest
        left = len(data) - start
        if left and not self._may_hold(left):
            left = 0
        self._held, self._next = (data, start) if left else (b"", 0)
        if left > READ_AHEAD:
            self.flow.pause()
        else:
            self.flow.resume()
        arriving = not self._in_head and not self.cycle.response_complete and not self._must_wait()
        if not self._count(self._received if arriving else left):
            self.refuse(503, _TOO_MUCH_UNREAD, UNAVAILABLE)

    def _may_hold(self, size: int) -> bool:
        """Return True if `size` bytes after a request may be held until its response is complete.

        Otherwise this response is the last one of the connection. A client that pipelines sends
        unanswered requests again: RFC 9112, 9.3.2.
        """
        answering = self._answering
        assert answering is not None  # noqa: S101 - true, as `_must_wait` held bytes back
        if answering.keep_alive and self._count(size):
            return True
        answering.keep_alive = False
        self._received += size
        if self._received > MOST_BYTES:
            self.transport.abort()
        return False

    def _count(self, size: int) -> bool:
        """Count the held bytes of this connection, if they exceed READ_AHEAD; False if refused."""
        size = size if size > READ_AHEAD else 0
        if size == self._counted:
            return True
        app: Any = self.config.app  # Starlette's
        backlog_budget: BacklogBudget = app.state.application.backlog_budget
        if not backlog_budget.change(self.client[0] if self.client else None, size - self._counted):
            return False
        self._counted = size
        return True

    def _limit_time(self) -> None:
        """Set the deadline of the current message, if one has begun."""
        if self._deadline is not None or self._must_wait() or self.transport.is_closing():
            return
        if not self._in_head:
            self._expire(BODY_SECONDS, self._body_is_late)
        elif self._received:
            self._expire(HEAD_SECONDS, self._head_is_late)

    def _parse(self, data: bytes, start: int, end: int) -> int:
        """Parse a piece in which at most one request begins; return where the next piece begins."""
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
                    self.flow.resume()
                    self.handle_websocket_upgrade()
                    return len(data)
                end = start + upgrade.args[0]
                head = self._begin_without_upgrade()
                self.parser.feed_data(head)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._in_head and self._received > LARGEST_HEAD:
            self.refuse(431, TOO_LARGE)
        return end

    def _end_of_piece(self, data: bytes, start: int) -> int:
        if self._body_left > 0 and not self._in_head:  # in a head, more headers precede the body
            return min(len(data), start + self._body_left)
        end = min(len(data), start + _LONGEST_PIECE)
        if not self._in_head:
            first = start + _SHORTEST_CHUNKS
        elif self._has_begun:  # the last piece may have ended within the separator
            first = max(0, start + 1 - len(_END_OF_HEAD))
        else:
            first = start + _SHORTEST_HEAD
        found = data.find(_END_OF_HEAD, first, end)
        return end if found < 0 else found + len(_END_OF_HEAD)

    def _begin_without_upgrade(self) -> memoryview:
        """Return the head without its Upgrade header, to be parsed by a new parser.

        A server may ignore an upgrade. httptools treats all bytes after such a head as the other
        protocol; uvicorn drops those that have arrived and parses the rest as requests. A body
        could then smuggle a request that no proxy has seen.
        """
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/"]
        head += [self.parser.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += [name, b": ", value, b"\r\n"]
        self._ignored_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return memoryview(b"".join((*head, b"\r\n")))

    def on_message_begin(self) -> None:
        """Reset the counters of a message."""
        super().on_message_begin()
        self._in_head = self._has_begun = True
        self._lines = self._listed = self._body_left = 0
        if self._codings:
            self._codings = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header, without the trailing space that httptools leaves in its value."""
        self._lines += 1
        if self._lines > MOST_LINES:
            self._end_parsing(431, TOO_MANY_LINES)
        if not self._in_head:  # a trailer, which is ignored
            return
        name = name.lower()
        value = value.rstrip(b" \t")
        kind = KINDS.get(name)
        if kind is None:
            pass
        elif kind == LIST:
            self._listed += len(value)
        elif kind == CODING:
            self._codings.append(value.lower())
        elif kind == LENGTH:
            # leading zeros are legal; httptools rejects all but digits
            value = value.lstrip(b"0")[:_LONGEST_LENGTH] or b"0"
            self._body_left = int(value)
        elif value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def _end_parsing(self, status: int, message: str) -> NoReturn:
        """Stop the parser, which then calls `send_400_response`."""
        self._refusal = status, message
        raise ValueError(message)

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on."""
        self._body_left -= len(body)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Check the bounds of the head and start its request."""
        self._in_head = False
        self._unset_deadline()
        method = self.parser.get_method()
        if fault := exceeded(method, self.url, self.headers, self._received, self._listed):
            self._end_parsing(*fault)
        if method == b"CONNECT":
            raise ValueError("CONNECT is not supported.")
        if self._codings and self._is_coded():
            raise ValueError("Send the body with Content-Length, or in HTTP/1.1 as plain chunks.")
        self._ignored_upgrade = self.parser.should_upgrade() and not self._should_upgrade()
        if not self._ignored_upgrade:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the current message."""
        if self._ignored_upgrade:
            return
        super().on_message_complete()
        self._received = self._body_left = 0
        self._in_head = True
        self._has_begun = False
        self._unset_deadline()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.__class__ = ResponseCycle  # uvicorn has just made it, and takes no other class
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to the WebSocket protocol, unless a response is in progress."""
        if self._answering is None or self._answering.response_complete:
            # from here on, `connection_lost` is called on the WebSocket protocol
            self._unset_deadline()
            self._unset_reading()
            self._held, self._next = b"", 0
            self._count(0)
            super().handle_websocket_upgrade()
            if self.flow.write_paused:  # by an unread response; asyncio does not call it again
                self.transport.get_protocol().pause_writing()
                # asyncio resumes the WebSocket only, and the response waits no longer
                self.flow.resume_writing()
        else:
            self._close()  # frames would mix with the response

    def on_response_complete(self) -> None:
        """Parse the next request, or wait for the rest of an early answered one."""
        super().on_response_complete()
        if self.transport.is_closing():  # it was the last response
            self._close()
        elif self.cycle.response_complete and not self._in_head:
            self._expire(LINGER_SECONDS, self._close)  # the client still sends
        if self._held:
            self._unset_keepalive_if_required()
            self._parse_or_hold(self._held, self._next)
        elif self._received:
            self._limit_time()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection once its last response has been read."""
        if self.transport.get_write_buffer_size():
            self._watch_reader(closing=True)
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """Watch that the client goes on reading."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Stop watching the client."""
        super().resume_writing()
        if not self.transport.is_closing():  # then the client must read all
            self._unset_reading()

    def send_400_response(self, msg: str) -> None:
        """Send the error of the parser, or of the bound that stopped it."""
        self.refuse(*(self._refusal or (400, msg)))

    def _is_coded(self) -> bool:
        """Return True if the body has an unsupported or invalid transfer coding."""
        return self._codings != [b"chunked"] or self.parser.get_http_version() == "1.0"

    def _watch_reader(self, *, closing: bool = False) -> None:
        """Abort the connection if the client reads nothing for STALLED_SECONDS."""
        unread = self.transport.get_write_buffer_size()

        def check() -> None:
            left = self.transport.get_write_buffer_size()
            if left >= unread > 0:
                self.transport.abort()
            elif left:
                self._watch_reader(closing=closing)
            elif closing:
                self.transport.close()

        self._unset_reading()
        self._reading = self.loop.call_later(STALLED_SECONDS, check)

    def _unset_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _body_is_late(self) -> None:
        """Wake the request that waits for its body; a timeout for each wait would cost more."""
        self.scope["state"][BODY_TIMED_OUT] = True
        self.cycle.message_event.set()

    def _head_is_late(self) -> None:
        self._deadline = None
        if self._received:
            self.refuse(408, f"The headers did not arrive within {HEAD_SECONDS:g} seconds.")
        else:
            self._close()

    def _close(self) -> None:
        """Close once everything is written; abort if the client does not read it."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._watch_reader(closing=True)

    def refuse(self, status: int, message: str, code: str = "BAD_USER_INPUT") -> None:
        """Send an error for bytes that are no valid request, and close.

        If a response has begun, abort instead: the error would corrupt it, or pass for the next.
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
        app: Any = self.config.app  # Starlette's
        headers = app.state.application.origins.response_headers(self._origin())
        self.transport.write(early_response(status, message, code, headers))
        self._close()
        log_rejected_request(status, self.client[0] if self.client else None)

    def _origin(self) -> str | None:
        """Return the Origin header, None if it has not arrived."""
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
