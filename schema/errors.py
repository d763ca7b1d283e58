"""Errors as callers see them: a code each, and nothing of ours that was not meant for them."""

from dataclasses import dataclass
from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from models.database import DatabaseUnavailableError
from resolvers.errors import RequestError

log = structlog.get_logger("coingraph.graphql")

INTERNAL = "INTERNAL_SERVER_ERROR"
UNAVAILABLE = "SERVICE_UNAVAILABLE"

STATUS = {
    "GRAPHQL_PARSE_FAILED": 400,
    "GRAPHQL_VALIDATION_FAILED": 400,
    "BAD_USER_INPUT": 400,
    "RANGE_TOO_LARGE": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    INTERNAL: 500,
    UNAVAILABLE: 503,
}
# What is wrong with the service or the caller's right to it, not with one field's arguments.
_WHOLE = {"UNAUTHENTICATED", "FORBIDDEN", INTERNAL, UNAVAILABLE}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response body and its HTTP status."""

    body: dict[str, Any]
    status: int
    codes: frozenset[str]


def answer_of(result: ExecutionResult, request_id: str) -> Answer:
    """Shape a result. A request that fails as a whole never answers 200."""
    early = isinstance(result, PreExecutionError)
    errors = [_shape(error, request_id, early=early) for error in result.errors or ()]
    codes = [error["extensions"]["code"] for error in errors]
    body: dict[str, Any] = {}
    if errors:
        body["errors"] = errors
    started = not early and not (result.data is None and _never_started(result.errors or ()))
    if started:
        body["data"] = result.data
    if result.extensions:
        body["extensions"] = result.extensions
    return Answer(body, _status(result.data, codes), frozenset(codes))


def failure(code: str, message: str, status: int | None = None) -> Answer:
    """Shape an answer to a request that never became an operation."""
    body = {"errors": [{"message": message, "extensions": {"code": code}}]}
    return Answer(body, status or STATUS[code], frozenset([code]))


def _status(data: dict[str, Any] | None, codes: list[str]) -> int:
    if not codes:
        return 200
    if data is None:
        return STATUS[codes[0]]
    whole = [code for code in codes if code in _WHOLE]
    if whole and all(value is None for value in data.values()):
        return STATUS[whole[0]]
    return 200


def _never_started(errors: list[GraphQLError] | tuple[()]) -> bool:
    return all(error.path is None for error in errors)


def _shape(error: GraphQLError, request_id: str, *, early: bool) -> dict[str, Any]:
    code, message = _code_and_message(error, request_id, early=early)
    shaped: dict[str, Any] = {"message": message}
    if error.locations:
        shaped["locations"] = [
            {"line": place.line, "column": place.column} for place in error.locations
        ]
    if error.path is not None:
        shaped["path"] = list(error.path)
    shaped["extensions"] = {"code": code}
    if code == INTERNAL:
        shaped["extensions"]["requestId"] = request_id
    return shaped


def _code_and_message(error: GraphQLError, request_id: str, *, early: bool) -> tuple[str, str]:
    cause = _root_cause(error)
    if isinstance(cause, RequestError):
        return cause.code, str(cause)
    if isinstance(cause, DatabaseUnavailableError):
        log.warning("database unavailable", error=str(cause), cause=repr(cause.__cause__))
        return UNAVAILABLE, f"{cause} Try again in a few seconds."
    if isinstance(cause, GraphQLSyntaxError):
        return "GRAPHQL_PARSE_FAILED", error.message
    if isinstance(cause, GraphQLError) and early:
        return "GRAPHQL_VALIDATION_FAILED", error.message
    if isinstance(cause, GraphQLError) and error.path is None:
        return "BAD_USER_INPUT", error.message  # a variable that does not fit its type
    log.error("unexpected error", path=error.path, exc_info=cause)
    return INTERNAL, f"Internal error. The server's log has it under request id {request_id}."


def _root_cause(error: GraphQLError) -> BaseException:
    """Look through the wrappings that graphql-core puts around an error."""
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause
