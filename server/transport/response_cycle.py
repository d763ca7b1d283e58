"""Writes the head of a response together with its body."""

from uvicorn._types import ASGISendEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

_LENGTH, _CODING, _CONNECTION = b"content-length", b"transfer-encoding", b"connection"
_OF_THE_MESSAGE = frozenset({_LENGTH, _CODING, _CONNECTION})
_WITHOUT_BODY = frozenset({204, 304})


class ResponseCycle(RequestResponseCycle):
    """uvicorn's request and response, with one write where uvicorn needs two.

    ASGI: a server must not send the head before the first part of the body. A body in one part
    with a Content-Length is written with its head; uvicorn writes all others after their head.
    https://asgi.readthedocs.io/en/latest/specs/www.html#response-start-send-event
    """

    _head = b""

    async def send(self, message: ASGISendEvent) -> None:
        """Send an ASGI message."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started and message["type"] == "http.response.start":
            self._head = self._begin(message)
            return
        head, self._head = self._head, b""
        if head and message["type"] == "http.response.body" and not message.get("more_body"):
            body = message.get("body", b"")
            whole = self.chunked_encoding is False and len(body) == self.expected_content_length
            if whole and self.scope["method"] != "HEAD":
                self.transport.write(head + body)
                self._end()
                return
        if head:
            self.transport.write(head)
        await super().send(message)

    def _begin(self, message: HTTPResponseStartEvent) -> bytes:
        """Return the head, and note what it says of the body and of the connection."""
        self.response_started = True
        self.waiting_for_100_continue = False
        headers = [*self.default_headers, *message.get("headers", ())]
        if HEADER_RE.search(b"".join([name for name, _ in headers])):
            raise RuntimeError("Invalid HTTP header name.")
        if HEADER_VALUE_RE.search(b"".join([value for _, value in headers])):
            raise RuntimeError("Invalid HTTP header value.")
        lines = [STATUS_LINE[message["status"]]]
        closes = False
        for given, value in headers:
            name = given.lower()
            if name in _OF_THE_MESSAGE:
                closes = self._note(name, value) or closes
            lines.append(b"%b: %b\r\n" % (name, value))
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        has_body = self.scope["method"] != "HEAD" and message["status"] not in _WITHOUT_BODY
        if self.chunked_encoding is None and has_body:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _note(self, name: bytes, value: bytes) -> bool:
        """Note a header about the message; return True if it closes the connection."""
        if name == _LENGTH and self.chunked_encoding is None:
            self.expected_content_length = int(value)
            self.chunked_encoding = False
        elif name == _CODING and value.lower() == b"chunked":
            self.expected_content_length = 0
            self.chunked_encoding = True
        tokens = value.lower().split(b",") if name == _CONNECTION else ()
        return any(token.strip() == b"close" for token in tokens)

    def _end(self) -> None:
        self.expected_content_length = 0
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
