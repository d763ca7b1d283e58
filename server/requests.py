"""GraphQL requests on their way in: methods, media types, bodies, what is no operation."""

from dataclasses import dataclass
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from schema.errors import Answer, failure
from server.persisted import BadHashError, hash_in
from server.preferences import JSON, prefers_events, prefers_page

LARGEST_BODY = 100_000
METHODS = "GET, HEAD, POST"


class RequestRefusedError(Exception):
    """A request that never becomes an operation."""

    def __init__(self, answer: Answer, **headers: str) -> None:
        super().__init__(answer.body)
        self.answer = answer
        self.headers = [(name.lower().encode(), text.encode()) for name, text in headers.items()]

    @property
    def message(self) -> str:
        """What the caller is told, of several errors the first."""
        return str(self.answer.body["errors"][0]["message"])


@dataclass(frozen=True, slots=True)
class Operation:
    """What a request asks for. Without `query`, the text that `sha256` stands for is meant."""

    query: str | None
    variables: dict[str, Any] | None
    name: str | None
    extensions: dict[str, Any] | None
    sha256: str | None


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Give the headers by name, in lower case; a list in several lines is one list."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def wants_page(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Whether a browser asks for a page, not for data."""
    return (
        scope["method"] in {"GET", "HEAD"}
        and prefers_page(headers.get(b"accept", b""))
        and QueryParams(scope["query_string"]).keys().isdisjoint({"query", "extensions"})
    )


def wants_events(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Whether the answer is to come as Server-Sent Events."""
    return scope["method"] in {"GET", "POST"} and prefers_events(headers.get(b"accept", b""))


async def read_operation(scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Operation:
    """Read what is asked for. Raises RequestRefusedError and ClientDisconnect."""
    method = scope["method"]
    if method == "POST":
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media_type != JSON:
            raise RequestRefusedError(
                failure("BAD_USER_INPUT", f"Send `Content-Type: {JSON.decode()}`.", 415)
            )
        fields = _parse(await _body(receive), "The body")
        if not isinstance(fields, dict):
            raise refusal("The body must be a JSON object with `query`.")
        return operation_of(fields)
    if method in {"GET", "HEAD"}:
        return operation_of(_fields_of_address(scope))
    raise RequestRefusedError(
        failure("BAD_USER_INPUT", f"Use GET or POST, not {method}.", 405), Allow=METHODS
    )


def canonical(variables: dict[str, Any] | None) -> bytes | None:
    """Write equal variables alike. None where they are nested deeper than orjson writes."""
    if not variables:
        return b""
    try:
        return orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None


def refusal(message: str) -> RequestRefusedError:
    return RequestRefusedError(failure("BAD_USER_INPUT", message))


def _fields_of_address(scope: Scope) -> dict[str, Any]:
    fields: dict[str, Any] = dict(QueryParams(scope["query_string"]))
    for name in ("variables", "extensions"):
        if fields.get(name):
            fields[name] = _parse(fields[name].encode(), f"`{name}`")
        else:
            fields.pop(name, None)
    return fields


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise RequestRefusedError(
                failure("BAD_USER_INPUT", f"The body is larger than {LARGEST_BODY:,} bytes.", 413)
            )
        if not message.get("more_body", False):
            return bytes(body)


def _parse(text: bytes, what: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise refusal(f"{what} is not JSON: {error}.") from None


def operation_of(fields: dict[str, Any]) -> Operation:
    """Read an operation from a request's fields. Raises RequestRefusedError."""
    for name, kind, what in (
        ("variables", dict, "an object"),
        ("operationName", str, "a string"),
        ("extensions", dict, "an object"),
    ):
        value = fields.get(name)
        if value is not None and not isinstance(value, kind):
            raise refusal(f"`{name}` must be {what}.")
    query, extensions = fields.get("query"), fields.get("extensions")
    try:
        sha256 = hash_in(extensions)
    except BadHashError as error:
        raise refusal(str(error)) from None
    if (sha256 is None or query is not None) and (not isinstance(query, str) or not query.strip()):
        raise refusal("`query` is missing: send the text of a GraphQL operation.")
    return Operation(
        query=query,
        variables=fields.get("variables"),
        name=fields.get("operationName") or None,
        extensions=extensions,
        sha256=sha256,
    )
