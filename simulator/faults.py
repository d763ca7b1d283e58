"""Faults to inject: what fails, for which requests, and how often."""

import struct
import threading
from collections.abc import Callable
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Literal

import orjson
from pydantic import ConfigDict, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from starlette.requests import Request
from starlette.types import Receive, Send

from simulator.noise import chance, key
from simulator.options import RetryAfterForm

FaultKind = Literal[
    "slow",
    "error500",
    "html",
    "truncated",
    "reset",
    "nulls",
    "rate_limited",
    "throttled_text",
    "empty",
    "forbidden",
]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Fault:
    """A fault and the requests that it matches.

    `path` is a part of the request's path, `coin` and `currency` are ids in the request; empty ones
    match all. `times` is the number of requests it applies to (None: unlimited), `probability` the
    chance for each, drawn from the simulator's seed. `seconds` is the delay of `slow`, which ends
    early if the faults are cleared, and the Retry-After of `rate_limited`, in the form
    `retry_after`. `nested` selects the other JSON shape of `error500`; `status` replaces the
    status of a fault that sends a response.

    `truncated`: the first half of the body, sent as a complete response. `reset`: the TCP
    connection is aborted before the response. `nulls`: every second point, and every quote, is
    null. `empty`: the right shape without content. `html`, `forbidden`: pages of a CDN.
    """

    kind: FaultKind
    path: str = ""
    coin: str = ""
    currency: str = ""
    times: PositiveInt | None = 1
    seconds: NonNegativeFloat = 1.0
    retry_after: RetryAfterForm = "seconds"
    nested: bool = False
    status: int | None = None
    probability: float = 1.0

    def matches(self, request: Request) -> bool:
        """Return True if the fault applies to this request."""
        if self.path not in request.url.path:
            return False
        query = request.query_params
        coins = [*request.url.path.split("/"), *query.get("ids", "").split(",")]
        currencies = [query.get("vs_currency", ""), *query.get("vs_currencies", "").split(",")]
        return (not self.coin or self.coin in coins) and (
            not self.currency or self.currency in currencies
        )


class FaultBook:
    """The active faults, oldest first. Thread-safe."""

    def __init__(self, seed: int) -> None:
        self._stream = key(seed, "faults")
        self._draws = 0
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, int | None]] = []
        self._cleared = threading.Event()

    def add(self, fault: Fault) -> None:
        """Add a fault after the active ones."""
        with self._lock:
            self._faults.append((fault, fault.times))

    def clear(self) -> None:
        """Remove all faults and end the delays of `slow` ones."""
        with self._lock:
            self._faults.clear()
            self._cleared.set()
            self._cleared = threading.Event()

    def take(self, request: Request) -> tuple[Fault | None, threading.Event]:
        """Return the first fault that matches, and count it as used; None if none matches.

        Also returns the event that is set when the active faults are cleared.
        """
        with self._lock:
            for place, (fault, left) in enumerate(self._faults):
                if not fault.matches(request) or not self._hits(fault):
                    continue
                if left is not None:
                    self._faults[place] = (fault, left - 1)
                    if left <= 1:
                        del self._faults[place]
                return fault, self._cleared
            return None, self._cleared

    def _hits(self, fault: Fault) -> bool:
        self._draws += 1
        return chance(self._stream, self._draws) < fault.probability


def truncated(body: bytes) -> bytes:
    """Return the first half of a body."""
    return body[: len(body) // 2]


def emptied(body: bytes) -> bytes:
    """Return JSON of the same shape without content."""
    content = orjson.loads(body)
    if isinstance(content, dict) and content and all(map(_is_list, content.values())):
        return orjson.dumps({name: [] for name in content})
    return b"[]" if _is_list(content) else b"{}"


def nulled(body: bytes) -> bytes:
    """Return the JSON with nulls in place of values."""
    return orjson.dumps(_nulled(orjson.loads(body)))


BODY_FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": truncated,
    "empty": emptied,
    "nulls": nulled,
}


async def reset(receive: Receive, send: Send) -> None:
    """Abort the TCP connection. `receive` and `send` must be the server's own."""
    # ASGI has no message for this; uvicorn's callables are methods of an object with the transport.
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("this server does not let its connections be aborted")
    # Lingering for 0 seconds makes the kernel send RST instead of FIN.
    raw = transport.get_extra_info("socket")
    raw.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def _is_list(content: object) -> bool:
    return isinstance(content, list)


def _nulled(content: Any, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON
    """Replace every second value of charts, and all values of quotes and of a coin's sections."""
    if isinstance(content, dict):
        return {name: _nulled(value, depth + 1) for name, value in content.items()}
    if isinstance(content, list):
        return [
            [point[0], None] if _is_list(point) and place % 2 else point
            for place, point in enumerate(content)
        ]
    return None if depth > 1 else content
