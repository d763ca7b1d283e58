"""Limits of request heads, and of the work that a head's contents cause."""

from collections.abc import Sequence

LARGEST_HEAD = 32_000  # bytes of the request line and all headers
MOST_LINES = 128  # headers and trailers of one message; the same as for WebSocket handshakes
MOST_VALUES = 200  # values and parameters in all list headers of one head
MOST_ESCAPES = 200  # percent signs in a path
TOO_LARGE = f"The address and the headers are larger than {LARGEST_HEAD:,} bytes."
TOO_MANY_LINES = f"There are more than {MOST_LINES} headers."
_TOO_MANY_VALUES = f"The headers list more than {MOST_VALUES} values and parameters."
_TOO_MANY_ESCAPES = f"The path has more than {MOST_ESCAPES} percent signs."
EXPECT, LENGTH, CODING, LIST = range(4)
KINDS = {  # LIST: the list headers that the server parses
    b"expect": EXPECT,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    **dict.fromkeys(
        (
            *(b"accept", b"accept-encoding", b"access-control-request-headers", b"connection"),
            *(b"if-none-match", b"range", b"sec-websocket-extensions", b"sec-websocket-protocol"),
            *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-prefix", b"x-forwarded-proto"),
        ),
        LIST,
    ),
}


def exceeded(
    method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]], received: int, listed: int
) -> tuple[int, str] | None:
    """Return the status and the message of the first limit that a whole head exceeds, or None.

    `received`: bytes of the message so far; `listed`: bytes of its list headers. They are upper
    bounds that spare counting in nearly all heads.
    """
    if received > LARGEST_HEAD and _size(method, url, headers) > LARGEST_HEAD:
        return 431, TOO_LARGE
    if listed > MOST_VALUES and _values(headers) > MOST_VALUES:
        return 431, _TOO_MANY_VALUES
    if len(url) > MOST_ESCAPES and _escapes(url) > MOST_ESCAPES:
        return 400, _TOO_MANY_ESCAPES
    return None


def _size(method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return the size of the head in bytes, without optional whitespace."""
    line = len(method) + len(url) + len("  HTTP/1.1\r\n\r\n")
    return line + sum(len(name) + len(value) + 4 for name, value in headers)


def _values(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return the number of values and parameters in the list headers."""
    lists = (value for name, value in headers if KINDS.get(name) == LIST)
    return sum(value.count(b",") + value.count(b";") for value in lists)


def _escapes(url: bytes) -> int:
    """Return the number of percent signs in the path, which uvicorn decodes one by one."""
    end = url.find(b"?")
    return url.count(b"%", 0, len(url) if end < 0 else end)
