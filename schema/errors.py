"""Errors as callers see them: a code each, and nothing of ours that was not meant for them."""

from dataclasses import dataclass
from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from models.database import DatabaseUnavailableError
from resolvers.errors import RequestError, TooComplexError, UnavailableError

log = structlog.get_logger("coingraph.graphql")

INTERNAL = "INTERNAL_SERVER_ERROR"
UNAVAILABLE = "SERVICE_UNAVAILABLE"

STATUS = {
    "GRAPHQL_PARSE_FAILED": 400,
    "GRAPHQL_VALIDATION_FAILED": 400,
    "BAD_USER_INPUT": 400,
    "RANGE_TOO_LARGE": 400,
    "OPERATION_TOO_COMPLEX": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    INTERNAL: 500,
    UNAVAILABLE: 503,
}
_MASK = "Internal error. The server's log has it under request id {}."


@dataclass(frozen=True, slots=True)
class Answer:
    """A response body, its HTTP status, and after how many seconds to try again, if known."""

    body: dict[str, Any]
    status: int
    retry_after: int | None = None


def answer_of(result: ExecutionResult, request_id: str) -> Answer:
    """Shape a result. A request that fails as a whole never answers 200."""
    if not result.errors:
        more = {"extensions": result.extensions} if result.extensions else {}
        return Answer({"data": result.data, **more}, 200)
    early = isinstance(result, PreExecutionError)
    errors = [_shape(error, request_id, early=early) for error in result.errors]
    _log(result.errors, errors)
    body: dict[str, Any] = {"errors": errors}
    if result.extensions:
        body["extensions"] = result.extensions
    if result.data is not None or any(error.path is not None for error in result.errors):
        body["data"] = result.data  # the specification wants no data of what was not begun
    return Answer(body, _status(result.data, errors), _retry_after(result.errors))


def failure(code: str, message: str, status: int | None = None, **more: str) -> Answer:
    """Shape an answer to a request that never became an operation."""
    body = {"errors": [{"message": message, "extensions": {"code": code, **more}}]}
    return Answer(body, status or STATUS[code])


def masked(request_id: str) -> Answer:
    """Shape the answer to a request that failed by a fault of ours."""
    return failure(INTERNAL, _MASK.format(request_id), requestId=request_id)


def _status(data: dict[str, Any] | None, errors: list[dict[str, Any]]) -> int:
    """Name the gravest error's status, unless there is an answer beside the errors."""
    if data is not None and any(value is not None for value in data.values()):
        return 200
    return max(STATUS[error["extensions"]["code"]] for error in errors)


def _retry_after(errors: list[GraphQLError]) -> int | None:
    causes = [_root_cause(error) for error in errors]
    known = [each.retry_after for each in causes if isinstance(each, UnavailableError)]
    return max((seconds for seconds in known if seconds is not None), default=None)


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
    cause = _root_cause(error)
    if isinstance(cause, UnavailableError) and cause.retry_after is not None:
        shaped["extensions"]["retryAfterSeconds"] = cause.retry_after
    if code == INTERNAL:
        shaped["extensions"]["requestId"] = request_id
    if isinstance(cause, TooComplexError):
        shaped["extensions"]["limit"] = cause.limit
    return shaped


def _code_and_message(error: GraphQLError, request_id: str, *, early: bool) -> tuple[str, str]:
    cause = _root_cause(error)
    if isinstance(cause, RequestError):
        return cause.code, str(cause)
    if isinstance(cause, DatabaseUnavailableError):
        return UNAVAILABLE, f"{cause} Try again in a few seconds."
    if isinstance(cause, GraphQLSyntaxError):
        return "GRAPHQL_PARSE_FAILED", error.message
    if isinstance(cause, GraphQLError) and early:
        return "GRAPHQL_VALIDATION_FAILED", error.message
    if isinstance(cause, GraphQLError) and error.path is None:
        return "BAD_USER_INPUT", error.message  # a variable that does not fit its type
    return INTERNAL, _MASK.format(request_id)


def _log(errors: list[GraphQLError], shaped: list[dict[str, Any]]) -> None:
    """Log what the caller is not told. Many fields may have failed by one exception."""
    logged = set[int]()
    for error, shape in zip(errors, shaped, strict=True):
        cause, code = _root_cause(error), shape["extensions"]["code"]
        if id(cause) in logged:
            continue
        logged.add(id(cause))
        if isinstance(cause, DatabaseUnavailableError):
            log.warning("database unavailable", error=str(cause), cause=repr(cause.__cause__))
        elif code == INTERNAL:
            log.error("unexpected error", path=error.path, exc_info=cause)


def _root_cause(error: GraphQLError) -> BaseException:
    """Look through the wrappings that graphql-core puts around an error."""
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause
