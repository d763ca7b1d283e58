"""GraphQL over HTTP: reading requests, JSON, status codes, media types."""

from dataclasses import dataclass
from typing import Any

import orjson
import strawberry
import structlog
from asgi_correlation_id import correlation_id
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from resolvers.errors import RequestError
from schema.context import Context, Services
from schema.errors import STATUS, UNAVAILABLE, Answer, answer_of, failure, masked
from schema.permissions import require_read
from server.auth import Authenticator
from server.graphiql import GRAPHIQL_PATH, graphiql_page

log = structlog.get_logger("coingraph.graphql")

LARGEST_BODY = 100_000
RETRY_AFTER_SECONDS = 5
_JSON = "application/json"
_GRAPHQL_JSON = "application/graphql-response+json"
_METHODS = "GET, POST"
_CLIENT_CLOSED_REQUEST = 499


class RequestRefusedError(Exception):
    """A request that never becomes an operation."""

    def __init__(self, answer: Answer, **headers: str) -> None:
        super().__init__(answer.body)
        self.answer = answer
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Operation:
    """What a request asks for."""

    query: str
    variables: dict[str, Any] | None
    name: str | None
    extensions: dict[str, Any] | None


class GraphQLEndpoint:
    """`/graphql`: operations for clients, GraphiQL for browsers.

    `services` is None until the database is ready.
    """

    def __init__(self, schema: strawberry.Schema, authenticator: Authenticator) -> None:
        self._schema = schema
        self._authenticator = authenticator
        self.services: Services | None = None

    async def handle(self, request: Request) -> Response:
        if _wants_page(request):
            prefix = str(request.scope.get("root_path", ""))  # a proxy's
            return graphiql_page(endpoint=f"{prefix}/graphql", mount=prefix + GRAPHIQL_PATH)
        try:
            return _respond(request, await self._execute(request, await _read(request)))
        except RequestRefusedError as refused:
            return _respond(request, refused.answer, refused.headers)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)  # nobody reads it but the log
        except Exception:
            log.exception("unexpected error")
            return _respond(request, masked(correlation_id.get() or ""))

    async def _execute(self, request: Request, operation: Operation) -> Answer:
        caller = self._authenticator.caller(request)
        try:
            require_read(caller)
        except RequestError as error:
            raise RequestRefusedError(failure(error.code, str(error))) from None
        if self.services is None:
            raise RequestRefusedError(
                failure(UNAVAILABLE, "The database is not ready yet. Try again in a few seconds.")
            )
        allowed = {OperationType.QUERY}
        if request.method == "POST":
            allowed.add(OperationType.MUTATION)
        try:
            result = await self._schema.execute(
                operation.query,
                variable_values=operation.variables,
                operation_name=operation.name,
                operation_extensions=operation.extensions,
                context_value=Context(self.services, caller, encoded=True),
                allowed_operation_types=allowed,
            )
        except CannotGetOperationTypeError as error:
            raise _bad(error.as_http_error_reason()) from None
        except InvalidOperationTypeError as error:
            message = error.as_http_error_reason(request.method)
            if request.method != "POST":
                raise RequestRefusedError(
                    failure("BAD_USER_INPUT", message, 405), Allow="POST"
                ) from None
            raise _bad(message) from None
        return answer_of(result, correlation_id.get() or "")


def _wants_page(request: Request) -> bool:
    return (
        request.method in {"GET", "HEAD"}
        and "query" not in request.query_params
        and "text/html" in request.headers.get("accept", "")
    )


async def _read(request: Request) -> Operation:
    """Read an operation from a request. Raises RequestRefusedError."""
    if request.method in {"GET", "HEAD"}:
        parameters: dict[str, Any] = dict(request.query_params)
        for name in ("variables", "extensions"):
            if parameters.get(name):
                parameters[name] = _parse(parameters[name].encode(), f"`{name}`")
            else:
                parameters.pop(name, None)
        return _operation(parameters)
    if request.method != "POST":
        raise RequestRefusedError(
            failure("BAD_USER_INPUT", f"Use GET or POST, not {request.method}.", 405),
            Allow=_METHODS,
        )
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _JSON:
        raise RequestRefusedError(failure("BAD_USER_INPUT", f"Send `Content-Type: {_JSON}`.", 415))
    body = _parse(await _body(request), "The body")
    if not isinstance(body, dict):
        raise _bad("The body must be a JSON object with `query`.")
    return _operation(body)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise RequestRefusedError(
                failure("BAD_USER_INPUT", f"The body is larger than {LARGEST_BODY:,} bytes.", 413)
            )
    return bytes(body)


def _parse(text: bytes, what: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _bad(f"{what} is not JSON: {error}.") from None


def _operation(fields: dict[str, Any]) -> Operation:
    query = fields.get("query")
    if not isinstance(query, str) or not query.strip():
        raise _bad("`query` is missing: send the text of a GraphQL operation.")
    for name, kind, what in (
        ("variables", dict, "an object"),
        ("operationName", str, "a string"),
        ("extensions", dict, "an object"),
    ):
        value = fields.get(name)
        if value is not None and not isinstance(value, kind):
            raise _bad(f"`{name}` must be {what}.")
    return Operation(
        query=query,
        variables=fields.get("variables"),
        name=fields.get("operationName") or None,
        extensions=fields.get("extensions"),
    )


def _bad(message: str) -> RequestRefusedError:
    return RequestRefusedError(failure("BAD_USER_INPUT", message))


def _respond(request: Request, answer: Answer, headers: dict[str, str] | None = None) -> Response:
    accepted = request.headers.get("accept", "")
    media_type = _GRAPHQL_JSON if _GRAPHQL_JSON in accepted else _JSON
    headers = dict(headers or {})
    if answer.status == STATUS[UNAVAILABLE]:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if answer.status == STATUS["UNAUTHENTICATED"]:
        headers["WWW-Authenticate"] = 'Bearer realm="coingraph"'
    return Response(
        orjson.dumps(answer.body),
        status_code=answer.status,
        media_type=f"{media_type}; charset=utf-8",
        headers=headers,
    )
