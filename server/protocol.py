"""The connection of a client: what uvicorn's protocol leaves unbounded.

Its own limits end where a whole head has arrived. Here are those before that, after an early
answer, and for who does not read answers. docs/security.md lists them.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import httptools
import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from schema.errors import failure
from server.browsers import SECURITY_HEADERS
from server.logs import log_refusal
from server.requests import LATE

HEAD_SECONDS = 10.0
BODY_SECONDS = 15.0
LARGEST_HEAD = 32_000  # bytes of the request line and all headers
# What may come of one message altogether. A client that only reads the answer once it has sent all
# must be let send it; its body is thrown away.
MOST_BYTES = 16_000_000
LINGER_SECONDS = 5.0
STALLED_SECONDS = 15.0
_log = logging.getLogger("uvicorn.http")
_HEAD_TOO_LARGE = f"The address and the headers are larger than {LARGEST_HEAD:,} bytes."


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools with limits on heads, on what is left over, on slow reading.

    A request that comes in one piece costs two additions.
    """

    _in_head = True
    _head_too_large = False
    _received = 0  # bytes of this message
    _deadline: asyncio.TimerHandle | None = None  # of what is being sent to us
    _answering: RequestResponseCycle | None = None  # others may wait behind it: pipelined ones
    _reading: asyncio.TimerHandle | None = None  # when the client's reading is looked at again
    _unheeded_upgrade = False  # this head asks for one: it is read again without

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*given, **named)
        self.logger = _log  # not the one that tells of the server's start

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self._expire(HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_deadline()
        self._unset_reading()
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            # uvicorn tells only the request that came last
            self._answering.disconnected = True
            self._answering.message_event.set()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > MOST_BYTES:
            self.transport.abort()
            return
        self._read(data)
        if self.transport.is_closing():
            return
        if not self._in_head:
            if self._deadline is None:  # else it lingers
                self._expire(BODY_SECONDS, self._body_is_late)
        elif self._received > LARGEST_HEAD:
            self.refuse(431, _HEAD_TOO_LARGE)
        elif self._received and self._deadline is None:
            self._expire(HEAD_SECONDS, self._head_is_late)

    def _read(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        pieces = [memoryview(data)]  # the next one last
        try:
            while pieces:
                piece = pieces.pop()
                try:
                    self.parser.feed_data(piece)
                except httptools.HttpParserUpgrade as upgrade:
                    if self._should_upgrade():
                        self.handle_websocket_upgrade()
                        return
                    pieces += piece[upgrade.args[0] :], self._begin_without_upgrade()
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

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
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unset_deadline()
        if self._received > LARGEST_HEAD and self._head_size() > LARGEST_HEAD:
            self._head_too_large = True
            raise ValueError(_HEAD_TOO_LARGE)  # ends the parsing, by `send_400_response`
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("There are no tunnels here.")
        if self._is_coded():
            raise ValueError("Bodies come with Content-Length, or in HTTP/1.1 as plain chunks.")
        self._unheeded_upgrade = self.parser.should_upgrade() and not self._should_upgrade()
        if not self._unheeded_upgrade:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._unheeded_upgrade:
            return
        super().on_message_complete()
        self._received = 0
        self._in_head = True
        self._unset_deadline()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        if self._answering is None or self._answering.response_complete:
            super().handle_websocket_upgrade()
        else:
            self.transport.close()  # frames would go in between what is being answered

    def on_response_complete(self) -> None:
        super().on_response_complete()
        unread = self.cycle.response_complete and not self._in_head
        if unread and not self.transport.is_closing():
            self._expire(LINGER_SECONDS, self.transport.close)  # of who still sends

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
        if self._head_too_large:
            self.refuse(431, _HEAD_TOO_LARGE)
        else:
            self.refuse(400, msg)

    def _head_size(self) -> int:
        """Count as if each line had been written without a needless space."""
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n\r\n")
        return line + sum(len(n) + len(value) + 4 for n, value in self.headers)

    def _is_coded(self) -> bool:
        """Whether the body is in a transfer coding that we do not know, or that cannot be."""
        found = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        return bool(found) and (found != [b"chunked"] or self.parser.get_http_version() == "1.0")

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
        """Answer what never became a request, and close."""
        if self.transport.is_closing():
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
