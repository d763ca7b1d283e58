"""Parses and encodes the messages of the subprotocol graphql-transport-ws.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

from dataclasses import dataclass
from typing import Any

import orjson

SUBPROTOCOL = "graphql-transport-ws"

GOING_AWAY = 1001
TRY_AGAIN_LATER = 1013
BAD_MESSAGE = 4400
UNAUTHORIZED = 4401
FORBIDDEN = 4403
UNKNOWN_SUBPROTOCOL = 4406
INIT_TIMEOUT = 4408
ALREADY_EXISTS = 4409
TOO_MANY = 4429

LONGEST_ID = 256  # characters: every message of the operation repeats it
ACK = b'{"type":"connection_ack"}'
_LONGEST_REASON = 123  # bytes: RFC 6455, 5.5


class CloseError(Exception):
    """The WebSocket must be closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")


@dataclass(frozen=True, slots=True)
class Init:
    """`connection_init`: the first message, perhaps with a token."""

    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ping:
    """`ping`: its payload, if any, is sent back."""

    payload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Pong:
    """`pong`: needs no reply."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """`subscribe`: starts the operation in `payload`."""

    id: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Complete:
    """`complete`: the client has lost interest in the operation."""

    id: str


Message = Init | Ping | Pong | Subscribe | Complete


def read(text: str | bytes) -> Message:
    """Parse a message of a client. Raises CloseError if it is malformed."""
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise CloseError(BAD_MESSAGE, "A message must be JSON.") from None
    if not isinstance(fields, dict):
        raise CloseError(BAD_MESSAGE, "A message must be a JSON object.")
    match fields.get("type"):
        case "connection_init":
            return Init(_payload(fields) or {})
        case "ping":
            return Ping(_payload(fields))
        case "pong":
            _payload(fields)
            return Pong()
        case "subscribe":
            payload = _payload(fields)
            if payload is None:
                raise CloseError(BAD_MESSAGE, "`subscribe` needs a `payload`.")
            return Subscribe(_id(fields), payload)
        case "complete":
            return Complete(_id(fields))
        case unknown:
            raise CloseError(BAD_MESSAGE, f"Unknown message type: {str(unknown)[:60]!r}.")


def _payload(fields: dict[str, Any]) -> dict[str, Any] | None:
    payload = fields.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise CloseError(BAD_MESSAGE, "`payload` must be an object.")
    return payload


def _id(fields: dict[str, Any]) -> str:
    operation_id = fields.get("id")
    if not isinstance(operation_id, str) or not 0 < len(operation_id) <= LONGEST_ID:
        message = f"`id` must be a string of 1 to {LONGEST_ID} characters."
        raise CloseError(BAD_MESSAGE, message)
    return operation_id


def pong(payload: dict[str, Any] | None) -> bytes:
    """Encode a pong with the payload of its ping. Raises CloseError if it nests too deeply."""
    if payload is None:
        return b'{"type":"pong"}'
    try:
        return b'{"type":"pong","payload":' + orjson.dumps(payload) + b"}"
    except orjson.JSONEncodeError:
        raise CloseError(BAD_MESSAGE, "`payload` is nested too deeply.") from None


class OperationMessages:
    """The messages of one operation; see server.streams.operation.Messages."""

    __slots__ = ("_id",)

    def __init__(self, operation_id: str) -> None:
        self._id = orjson.dumps(operation_id)

    @property
    def around_payload(self) -> tuple[bytes, bytes]:
        """The bytes before and after the payload of a `next` message."""
        return b'{"id":' + self._id + b',"type":"next","payload":', b"}"

    def error(self, body: dict[str, Any]) -> bytes:
        """Encode an `error` message, which ends the operation."""
        payload = orjson.dumps(body["errors"])
        return b'{"id":' + self._id + b',"type":"error","payload":' + payload + b"}"

    def complete(self) -> bytes:
        """Encode a `complete` message."""
        return b'{"id":' + self._id + b',"type":"complete"}'
