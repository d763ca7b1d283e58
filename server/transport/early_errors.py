"""Errors for bytes that are no valid request, sent before the application is called."""

from collections.abc import Iterable, Sequence

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from schema.errors import failure
from server.http.security_headers import SECURITY_HEADERS


def early_response(
    status: int, message: str, code: str, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Return an HTTP response with a JSON error and additional headers."""
    content = orjson.dumps(failure(code, message, status).body)
    lines = (b"%b: %b\r\n" % header for header in (*early_headers(content), *headers))
    return b"".join((STATUS_LINE[status], *lines, b"\r\n", content))


def early_headers(content: bytes) -> Sequence[tuple[bytes, bytes]]:
    """Return the headers of a JSON error after which the connection closes."""
    return (
        *SECURITY_HEADERS,
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % len(content)),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    )
