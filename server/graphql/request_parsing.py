"""Parses HTTP requests: method, media type, body, and the parameters of the operation."""

import re
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from schema.errors import STATUS, UNAVAILABLE, Answer, failure
from server.graphql.persisted_queries import BadHashError, hash_in
from server.http.cross_origin import Origins
from server.http.negotiation import (
    GRAPHQL_JSON,
    JSON,
    Accepted,
    accepted,
    prefers_events,
    prefers_page,
)
from server.http.scope_state import BODY_TIMED_OUT

METHODS = "GET, HEAD, POST"
_JSON_TYPE = re.compile(
    rb'application/json[ \t]*(?:;[ \t]*(?:charset="?(?P<charset>[a-z0-9_.-]*)"?[ \t]*)?)?'
)
_UTF_8 = {None, b"", b"utf-8", b"utf8"}
_LONGEST_LENGTH = 18  # digits
MOST_PARAMETERS = 100  # in a query string
_NO_ESCAPE = re.compile(
    rb"%(?![0-9A-Fa-f]{2})"
)  # a stray percent sign; each takes a microsecond to decode
_OTHER_SITE = failure(
    "FORBIDDEN",
    "A page of another site may only send requests after a preflight: send the header "
    "`Apollo-Require-Preflight: true`, or have its origin added to CORS_ORIGINS.",
)
_NOT_ACCEPTABLE = failure(
    "BAD_USER_INPUT",
    f"Responses are `{GRAPHQL_JSON.decode()}` or `{JSON.decode()}`: name one of them in Accept.",
    406,
)


class RequestRefusedError(Exception):
    """A request is rejected before its operation is executed. `answer` is the response."""

    def __init__(self, answer: Answer, **headers: str) -> None:
        super().__init__(answer.body)
        self.answer = answer
        self.headers = [(name.lower().encode(), text.encode()) for name, text in headers.items()]

    @property
    def message(self) -> str:
        """The message of the first error in the response."""
        return str(self.answer.body["errors"][0]["message"])

    @property
    def is_transient(self) -> bool:
        """True if the same request may succeed a few seconds later."""
        return self.answer.status == STATUS[UNAVAILABLE]


@dataclass(frozen=True, slots=True)
class RequestParameters:
    """The parameters of a request, as GraphQL over HTTP names them.

    If `query` is None, `sha256` is the hash of a persisted query. `canonical`: the variables as
    JSON with sorted keys, b"" without variables. `asks_cost`: the response shall show the cost.
    """

    query: str | None
    variables: dict[str, Any] | None
    canonical: bytes
    name: str | None
    asks_cost: bool
    sha256: str | None


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers by their lower-case name; repeated headers are joined by commas."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def wants_page(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Return True if a browser requests the GraphiQL page, not data."""
    return (
        scope["method"] in {"GET", "HEAD"}
        and prefers_page(headers.get(b"accept", b""))
        and _fault_of_address(scope) is None
        and QueryParams(scope["query_string"]).keys().isdisjoint({"query", "extensions"})
    )


def wants_events(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Return True if the client requests Server-Sent Events."""
    return scope["method"] in {"GET", "POST"} and prefers_events(headers.get(b"accept", b""))


@dataclass(frozen=True, slots=True)
class RequestRules:
    """`largest_body`: in bytes. `origins`: the pages that may send requests."""

    largest_body: int = 100_000
    origins: Origins = Origins()  # noqa: RUF009 - it is immutable


async def read_parameters(
    scope: Scope, headers: dict[bytes, bytes], receive: Receive, rules: RequestRules
) -> RequestParameters:
    """Parse the parameters of a request. Raises RequestRefusedError and ClientDisconnect."""
    method = scope["method"]
    taken = accepted(headers.get(b"accept", b""))
    if taken is Accepted.NEITHER and not wants_events(scope, headers):
        raise RequestRefusedError(_NOT_ACCEPTABLE)
    if method == "POST":
        _check_content(headers)
        fields = _parse(await _body(scope, headers, receive, rules.largest_body), "The body")
        if isinstance(fields, list):
            raise refusal("Batches are not supported: send each operation as its own request.")
        if not isinstance(fields, dict):
            raise refusal("The body must be a JSON object with `query`.")
        return parameters_of(fields)
    if method in {"GET", "HEAD"}:
        if rules.origins.is_untrusted(headers):
            raise RequestRefusedError(_OTHER_SITE)
        return parameters_of(_fields_of_address(scope))
    raise RequestRefusedError(
        failure("BAD_USER_INPUT", f"Use GET or POST, not {method}.", 405), Allow=METHODS
    )


def refusal(message: str) -> RequestRefusedError:
    """Make the error of a malformed request: BAD_USER_INPUT."""
    return RequestRefusedError(failure("BAD_USER_INPUT", message))


def _fault_of_address(scope: Scope) -> str | None:
    """Return the reason if the query string would be slow to decode, else None."""
    query: bytes = scope["query_string"]
    if query.count(b"&") >= MOST_PARAMETERS:
        return f"The address has more than {MOST_PARAMETERS} parameters."
    if query.count(b"%") > MOST_PARAMETERS and len(_NO_ESCAPE.findall(query)) > MOST_PARAMETERS:
        return "The address has many `%` that begin no escape: write a percent sign as `%25`."
    return None


def _fields_of_address(scope: Scope) -> dict[str, Any]:
    if fault := _fault_of_address(scope):
        raise refusal(fault)
    fields: dict[str, Any] = dict(QueryParams(scope["query_string"]))
    for name in ("variables", "extensions"):
        if fields.get(name):
            fields[name] = _parse(fields[name].encode(), f"`{name}`")
        else:
            fields.pop(name, None)
    return fields


def _check_content(headers: dict[bytes, bytes]) -> None:
    """Reject all but JSON in UTF-8. Browsers send this media type only after a preflight."""
    content_type = headers.get(b"content-type", b"")
    if content_type != JSON:  # the common case
        form = _JSON_TYPE.fullmatch(content_type.lower())
        if form is None:
            message = f"Send `Content-Type: {JSON.decode()}`."
            raise RequestRefusedError(failure("BAD_USER_INPUT", message, 415))
        if form["charset"] not in _UTF_8:
            raise RequestRefusedError(failure("BAD_USER_INPUT", "Send JSON in UTF-8.", 415))
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        message = "Send the body without `Content-Encoding`: compressed bodies are not supported."
        refused = failure("BAD_USER_INPUT", message, 415)
        raise RequestRefusedError(refused, **{"Accept-Encoding": "identity"})


async def _body(scope: Scope, headers: dict[bytes, bytes], receive: Receive, most: int) -> bytes:
    body = bytearray()
    length = headers.get(b"content-length", b"0")
    too_large = len(length) > _LONGEST_LENGTH or not length.isdigit() or int(length) > most
    while not too_large:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        too_large = len(body) > most
        if not too_large and not message.get("more_body", False):
            return bytes(body)
        if scope.get("state", {}).get(BODY_TIMED_OUT):
            late = "The body took too long to arrive."
            raise RequestRefusedError(failure("BAD_USER_INPUT", late, 408))
    raise RequestRefusedError(
        failure("BAD_USER_INPUT", f"The body is larger than {most:,} bytes.", 413)
    )


def _parse(text: bytes, what: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise refusal(f"{what} is not JSON: {error}.") from None


def parameters_of(fields: dict[str, Any]) -> RequestParameters:
    """Make the parameters from the fields of a request. Raises RequestRefusedError."""
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
    return RequestParameters(
        query=query,
        variables=fields.get("variables"),
        name=fields.get("operationName") or None,
        asks_cost=(extensions or {}).get("cost") is True,
        canonical=_canonical(fields.get("variables")),
        sha256=sha256,
    )


def _canonical(variables: dict[str, Any] | None) -> bytes:
    """Return equal variables as equal JSON. Raises RequestRefusedError past 254 levels."""
    if not variables:
        return b""
    try:
        return orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise refusal("`variables` are nested too deeply.") from None
