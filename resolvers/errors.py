"""The errors that callers see. All other exceptions are masked.

* RequestError
  - BadInputError         BAD_USER_INPUT
  - NotFoundError         NOT_FOUND
  - RangeTooLargeError    RANGE_TOO_LARGE
  - TooComplexError       OPERATION_TOO_COMPLEX
  - UnauthenticatedError  UNAUTHENTICATED
  - ForbiddenError        FORBIDDEN
  - RateLimitedError      RATE_LIMITED
  - UnavailableError      SERVICE_UNAVAILABLE

Every message says what the caller can do.
"""

from typing import ClassVar


class RequestError(Exception):
    """A failure caused by the request or by the state of the service.

    `code` is sent as `extensions.code`, the message as it is.
    """

    code: ClassVar[str]


class BadInputError(RequestError):
    """An argument is invalid."""

    code = "BAD_USER_INPUT"


class NotFoundError(RequestError):
    """The request names something that is not stored."""

    code = "NOT_FOUND"


class RangeTooLargeError(RequestError):
    """The result would exceed a fixed limit of its field."""

    code = "RANGE_TOO_LARGE"


class TooComplexError(RequestError):
    """The operation exceeds a limit. `limit` is the name of its setting."""

    code = "OPERATION_TOO_COMPLEX"

    def __init__(self, message: str, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class UnauthenticatedError(RequestError):
    """The request has no valid token."""

    code = "UNAUTHENTICATED"


class ForbiddenError(RequestError):
    """The request's token does not allow the operation."""

    code = "FORBIDDEN"


class RateLimitedError(RequestError):
    """The caller has used up its rate. `retry_after`: seconds until it may continue."""

    code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnavailableError(RequestError):
    """The service cannot answer now.

    `retry_after`: seconds until a retry may succeed; None if that is not known.
    """

    code = "SERVICE_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
