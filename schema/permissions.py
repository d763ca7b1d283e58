"""Checks of read and refresh permissions, the same for all transports."""

import structlog

from resolvers.errors import ForbiddenError, UnauthenticatedError, UnavailableError
from schema.context import Access, Caller

log = structlog.get_logger("coingraph.auth")


def require_read(caller: Caller) -> None:
    """Raise UnauthenticatedError unless the caller may read. Log it without the token."""
    if caller.read is Access.GRANTED:
        return
    log.warning("read refused", client=caller.address, reason=caller.read.value)
    what = "A token is needed" if caller.read is Access.MISSING_TOKEN else "The token is not valid"
    raise UnauthenticatedError(f"{what}: send `Authorization: Bearer …` with one of READ_TOKENS.")


def require_refresh(caller: Caller) -> None:
    """Raise unless the caller may refresh. Log it without the token.

    Raises UnauthenticatedError, ForbiddenError or UnavailableError.
    """
    if caller.refresh is Access.GRANTED:
        return
    log.warning("refresh refused", client=caller.address, reason=caller.refresh.value)
    if caller.refresh is Access.NOT_SET_UP:
        raise UnavailableError(
            "Refreshing is switched off: set REFRESH_TOKENS on the server and restart it."
        )
    if caller.refresh is Access.READ_ONLY:
        raise ForbiddenError("This token may only read: use one of REFRESH_TOKENS.")
    if caller.refresh is Access.MISSING_TOKEN:
        raise UnauthenticatedError(
            "A token is needed: send `Authorization: Bearer …` with one of REFRESH_TOKENS."
        )
    raise UnauthenticatedError("The token is not valid: use one of REFRESH_TOKENS.")
