"""What a caller can be told, as one small tree. Anything else is masked before it leaves.

* RequestError
  - BadInputError         BAD_USER_INPUT
  - NotFoundError         NOT_FOUND
  - RangeTooLargeError    RANGE_TOO_LARGE
  - TooComplexError       OPERATION_TOO_COMPLEX
  - UnauthenticatedError  UNAUTHENTICATED
  - ForbiddenError        FORBIDDEN
  - RateLimitedError      RATE_LIMITED
  - UnavailableError      SERVICE_UNAVAILABLE

Every message says what to do next.
"""

from typing import ClassVar


class RequestError(Exception):
    """An answer to the caller's own doing, or to the state of the service."""

    code: ClassVar[str]


class BadInputError(RequestError):
    code = "BAD_USER_INPUT"


class NotFoundError(RequestError):
    code = "NOT_FOUND"


class RangeTooLargeError(RequestError):
    code = "RANGE_TOO_LARGE"


class TooComplexError(RequestError):
    """An operation that is larger than a setting allows. `limit` names the setting."""

    code = "OPERATION_TOO_COMPLEX"

    def __init__(self, message: str, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class UnauthenticatedError(RequestError):
    code = "UNAUTHENTICATED"


class ForbiddenError(RequestError):
    code = "FORBIDDEN"


class RateLimitedError(RequestError):
    """`retry_after`: in how many seconds the caller may ask for more."""

    code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnavailableError(RequestError):
    """`retry_after`: in how many seconds it may be different, None where nobody can tell."""

    code = "SERVICE_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
