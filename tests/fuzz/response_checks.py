"""Checks that hold for every response, whatever the request."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

# DESIGN.md, section 5, but for INTERNAL_SERVER_ERROR, which is always a fault of ours
CODES = {
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "BAD_USER_INPUT",
    "NOT_FOUND",
    "RANGE_TOO_LARGE",
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "OPERATION_TOO_COMPLEX",
    "RATE_LIMITED",
    "PERSISTED_QUERY_NOT_FOUND",
    "SERVICE_UNAVAILABLE",
}
_UPGRADED = 101
_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is None if it is incomplete."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


def judge(answer: Answer) -> None:
    """Fail for internal errors, and for errors that a client program cannot distinguish."""
    status, headers = answer.status, answer.headers
    assert status < 500 or (status == 503 and "retry-after" in headers), answer
    if not answer.body:
        return
    if "json" in headers.get("content-type", ""):
        judge_result(orjson.loads(answer.body))
    else:
        assert status < 400, f"an error without a code: {answer}"


def judge_result(body: Any) -> None:
    """Fail for invalid GraphQL responses, and for errors without a message."""
    assert isinstance(body, dict), body
    if "data" not in body and "errors" not in body:
        assert "status" in body, body  # of /health
        return
    if "errors" in body:
        judge_errors(body["errors"])


def judge_errors(errors: Any) -> None:
    assert errors, "an empty list of errors"
    for error in errors:
        assert error["message"]
        assert error["extensions"]["code"] in CODES, error


def answers_in(received: bytes) -> Iterator[Answer]:
    """Parse the responses of one connection; some may be responses to HEAD."""
    while received:
        line = _STATUS_LINE.match(received)
        assert line, f"no HTTP: {received[:200]!r}"
        head, found, received = received.partition(b"\r\n\r\n")
        if not found:
            return
        pairs = (each.split(": ", 1) for each in head.decode("latin-1").split("\r\n")[1:])
        headers = {name.lower(): value for name, value in pairs}
        status = int(line[1])
        length = int(headers.get("content-length", 0))
        if status == _UPGRADED or "chunked" in headers.get("transfer-encoding", ""):
            yield Answer(status, headers, None)
            return  # what follows is a stream's
        has_none = status in {204, 304} or not received or _STATUS_LINE.match(received)
        if has_none or len(received) < length:
            yield Answer(status, headers, None if length else b"")
            received = received if has_none else b""
            continue
        yield Answer(status, headers, received[:length])
        received = received[length:]
