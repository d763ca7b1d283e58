"""Admission: access rights, rate limits and the availability of the database."""

from collections.abc import Callable

from graphql import OperationType
from starlette.requests import HTTPConnection
from starlette.types import Scope

from resolvers.errors import RateLimitedError, RequestError
from schema.context import Caller, Context, Services
from schema.errors import UNAVAILABLE, failure, refused
from schema.permissions import require_read, require_refresh
from server.access.rate_limits import RateLimits
from server.access.tokens import Authenticator
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import RequestRefusedError


class Admission:
    """Admits or rejects requests of all transports, in this order.

    `charge_request` when a request arrives, `admit` before its operation is looked at, `context`
    before the operation is executed.

    `services` is None until the database is ready.
    """

    def __init__(self, authenticator: Authenticator, rates: RateLimits | None = None) -> None:
        self._authenticator = authenticator
        self.rates = rates
        self.services: Services | None = None

    @property
    def reads_are_open(self) -> bool:
        """True if queries need no token."""
        return self._authenticator.reads_are_open

    def new_request(self, scope: Scope) -> GraphQLRequest:
        """Make the request of an ASGI scope and decide whether its response is private."""
        request = GraphQLRequest(scope)
        request.private = (
            b"authorization" in request.headers or not self._authenticator.reads_are_open
        )
        return request

    async def charge_request(self, request: GraphQLRequest) -> None:
        """Charge the point that every request costs, once for each request.

        Raises RequestRefusedError if the caller has no point left.
        """
        if self.rates is None or request.account is not None:
            return
        token = None
        if b"authorization" in request.headers:
            token = self._authenticator.known_token(HTTPConnection(request.scope))
        request.account = self.rates.account(token, request.caller)
        try:
            await request.account.charge(1)
        except RateLimitedError as error:
            raise RequestRefusedError(refused(error)) from None

    def admit(self, request: GraphQLRequest) -> None:
        """Raise RequestRefusedError if the caller may not read."""
        if request.private:
            self._require(require_read, request)

    def check_ready(self, request: GraphQLRequest, kind: OperationType | None = None) -> Services:
        """Return the services. Raises RequestRefusedError while the database is not ready.

        A mutation without a valid token is rejected for its token, not for the database.
        """
        if self.services is not None:
            return self.services
        if kind is OperationType.MUTATION:
            self._require(require_refresh, request)
        raise RequestRefusedError(
            failure(UNAVAILABLE, "The database is not ready yet. Try again in a few seconds.")
        )

    def context(self, request: GraphQLRequest, kind: OperationType) -> Context:
        """Make the context of an operation. Raises RequestRefusedError as `check_ready` does."""
        services, account = self.check_ready(request, kind), request.account
        charge = None if account is None else account.charge_cost
        return Context(services, self._caller(request), encoded=True, charge=charge)

    def _require(self, require: Callable[[Caller], None], request: GraphQLRequest) -> None:
        try:
            require(self._caller(request))
        except RequestError as error:
            raise RequestRefusedError(failure(error.code, str(error))) from None

    def _caller(self, request: GraphQLRequest) -> Caller:
        return self._authenticator.caller(HTTPConnection(request.scope))
