"""Responses with errors: each error has a code, and internal errors are masked."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSyntaxError, ValueNode
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from models.postgres.database import DatabaseUnavailableError
from resolvers.errors import RateLimitedError, RequestError, TooComplexError, UnavailableError

log = structlog.get_logger("coingraph.graphql")
_LONGEST_SHOWN = 60  # characters of an alias in the log

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
    "RATE_LIMITED": 429,
    INTERNAL: 500,
    UNAVAILABLE: 503,
}
_LOWEST_OF_SERVER = 500
_OF_THE_CALLER = {STATUS["UNAUTHENTICATED"], STATUS["FORBIDDEN"]}
_PASSING = (UnavailableError, RateLimitedError)
_TOO_MANY_DIGITS = "A number in the document has too many digits."
_MASK = "Internal error. The server's log has details under request id {}."


class Lenience(Enum):
    """Which clients receive status 200 instead of the response's own status.

    GraphQL's media type requires the status; `application/json` predates that rule.
    docs/decisions/0018-graphql-over-http.md
    """

    NEVER = auto()
    JSON_BY_NAME = auto()  # clients that accept application/json by that name
    ANY_JSON = auto()  # and clients without a preference


@dataclass(frozen=True, slots=True)
class Answer:
    """A response body and its HTTP status. `retry_after` is in seconds, None if not known."""

    body: dict[str, Any]
    status: int
    retry_after: int | None = None
    lenience: Lenience = Lenience.NEVER


def answer_of(result: ExecutionResult, request_id: str) -> Answer:
    """Build the response of an execution result.

    The status is 200 if there is any data, otherwise that of the most severe error.
    """
    more = {"extensions": result.extensions} if result.extensions else {}
    if not result.errors:
        return Answer({"data": result.data, **more}, 200)
    early = isinstance(result, PreExecutionError)
    errors = [_shape(error, request_id, early=early) for error in result.errors]
    _log(result.errors, errors)
    status = max(STATUS[error["extensions"]["code"]] for error in errors)
    retry_after = _retry_after(result.errors)
    data = _data_to_send(result.data, status)
    if data is not None:
        return Answer({"errors": errors, **more, "data": data}, 200)
    if any(error.path is not None for error in result.errors):
        return Answer({"errors": errors, **more, "data": None}, status, retry_after)
    # The specification allows no `data` if the execution did not start. An error without a location
    # in the document is about the request, for example several operations without a name.
    lenient = status == STATUS["BAD_USER_INPUT"] and all(e.locations for e in result.errors)
    lenience = Lenience.JSON_BY_NAME if lenient else Lenience.NEVER
    return Answer({"errors": errors, **more}, status, retry_after, lenience)


def failure(
    code: str,
    message: str,
    status: int | None = None,
    lenience: Lenience = Lenience.NEVER,
    **more: str,
) -> Answer:
    """Build the response to a request that did not become an operation."""
    body = {"errors": [{"message": message, "extensions": {"code": code, **more}}]}
    return Answer(body, status or STATUS[code], lenience=lenience)


def refused(error: RequestError) -> Answer:
    """Build the response to a request whose caller is rejected."""
    return answer_of(ExecutionResult(None, [GraphQLError(str(error), original_error=error)]), "")


def masked(request_id: str) -> Answer:
    """Build the response to a request that failed with an internal error."""
    return failure(INTERNAL, _MASK.format(request_id), requestId=request_id)


def _data_to_send(data: dict[str, Any] | None, status: int) -> dict[str, Any] | None:
    """Return the data; None if all of it is null and the server or the caller's access is why.

    Schedulers and load balancers read only the status, which would have to be 200 with data.
    """
    if data is None or any(value is not None for value in data.values()):
        return data
    grave = status >= _LOWEST_OF_SERVER or status in _OF_THE_CALLER
    return None if grave else data


def _retry_after(errors: list[GraphQLError]) -> int | None:
    causes = [_root_cause(error) for error in errors]
    known = [each.retry_after for each in causes if isinstance(each, _PASSING)]
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
    if isinstance(cause, _PASSING) and cause.retry_after is not None:
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
    if isinstance(cause, GraphQLError | ValueError) and early:
        # Python's own message names options of the interpreter
        reason = error.message if isinstance(cause, GraphQLError) else _TOO_MANY_DIGITS
        return "GRAPHQL_VALIDATION_FAILED", reason
    if isinstance(cause, GraphQLError) and (error.path is None or _is_about_a_value(cause)):
        return "BAD_USER_INPUT", error.message  # a variable that does not match its type
    return INTERNAL, _MASK.format(request_id)


def _is_about_a_value(error: GraphQLError) -> bool:
    """Return True if graphql-core rejected the value of an argument during execution.

    Validation cannot detect it: null for `$id: ID = "bitcoin"` at a place of type `ID!`, or in a
    list. Errors about results have fields of the document as their nodes.
    """
    return bool(error.nodes) and isinstance(error.nodes[0], ValueNode)  # type: ignore[index] # not None


def _log(errors: list[GraphQLError], shaped: list[dict[str, Any]]) -> None:
    """Log errors that are masked. Several fields may have failed with one exception."""
    logged = set[int]()
    for error, shape in zip(errors, shaped, strict=True):
        cause, code = _root_cause(error), shape["extensions"]["code"]
        if id(cause) in logged:
            continue
        logged.add(id(cause))
        if isinstance(cause, DatabaseUnavailableError):
            log.warning("database unavailable", error=str(cause), cause=repr(cause.__cause__))
        elif code == INTERNAL:
            log.error("unexpected error", path=_shown(error.path), exc_info=cause)


def _shown(path: list[str | int] | None) -> list[str | int]:
    """Shorten the names of a path: they are aliases, which callers choose."""
    return [key[:_LONGEST_SHOWN] if isinstance(key, str) else key for key in path or ()]


def _root_cause(error: GraphQLError) -> BaseException:
    """Return the original exception, without graphql-core's wrappers."""
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause
