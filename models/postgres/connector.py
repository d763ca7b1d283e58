"""Opens sessions: tries one host after the other, as libpq does."""

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from sqlalchemy.engine import URL

from models.postgres import connection
from models.postgres.circuit_breaker import (
    DRIVER_ERRORS,
    NO_MORE_CONNECTIONS,
    DatabaseUnavailableError,
    TooManyConnectionsError,
)
from models.postgres.connection import TLS_PARAMETERS, hosts_of
from models.postgres.refusals import connect_error
from models.postgres.session import Session

_OF_SEVERAL_SECONDS = 1.5  # the timeout per host, short enough for a probe to try a second host
_POOLER_SECONDS = 1.5  # how long a pooler may take to assign a session after the login
# Errors after which the next host is tried. They include PgBouncer's refusals.
_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InternalClientError,
)
_ANY: Callable[[Session], bool] = lambda _: True  # noqa: E731 - one of a table of these
_ACCEPTED: Mapping[str, Callable[[Session], bool]] = {
    "any": _ANY,
    "primary": lambda session: not session.standby,
    "standby": lambda session: session.standby,
    "prefer-standby": lambda session: session.standby,
    "read-write": lambda session: not session.read_only,
    "read-only": lambda session: session.read_only,
}


class Connector:
    """Opens sessions of the database at `url`, which comes from `database_url`.

    `password` returns the password for each new session; None means the one in `url`.
    """

    def __init__(self, url: URL, password: Callable[[], str | None] | None = None) -> None:
        self._url = url
        self._password = password or (lambda: url.password)
        self._given: str | None = None  # the password of the last attempt
        self._query = {name: str(value) for name, value in url.query.items() if name != "host"}
        self._hosts = hosts_of(url)
        self._first = 0  # index of the host to try first
        self._pooled = False  # True if the last session went through a pooler
        self._attributes = self._query.get("target_session_attrs") or os.environ.get(
            "PGTARGETSESSIONATTRS", "any"
        )

    async def connect(self, application_name: str) -> Session:
        """Open a session.

        Raises DatabaseUnavailableError, TooManyConnectionsError, DatabaseRefusedError if waiting
        does not help, and UnsupportedServerError if the server is too old.
        """
        accepted = _ACCEPTED.get(self._attributes, _ANY)
        session = await self._first_of(application_name, accepted)
        if session is None and self._attributes == "prefer-standby":
            session = await self._first_of(application_name, _ANY)
        if session is None:
            raise DatabaseUnavailableError(
                "The database takes no writes at the moment."
                if self._attributes in {"primary", "read-write"}
                else "The database cannot be reached."
            )
        self._pooled = session.pooled
        return session

    async def _first_of(
        self, application_name: str, accepted: Callable[[Session], bool]
    ) -> Session | None:
        """Open a session at the first host whose session is accepted; None if there is none."""
        lost: Exception | None = None
        answered, count = False, len(self._hosts)
        for place in [(self._first + turn) % count for turn in range(count)]:
            self._first = (place + 1) % count  # in case this attempt is cancelled
            try:
                session = await self._open(place, application_name)
            except _AWAY as error:
                lost = error
                continue
            except (*DRIVER_ERRORS, ValueError, KeyError) as error:
                raise connect_error(error, self._url, self._given) from error
            answered = True
            if accepted(session):
                # do not start at a standby that was found while any server was accepted
                self._first = 0 if accepted is _ANY and session.read_only else place
                return session
            session.terminate()
        if lost is not None and not answered:
            raise connect_error(lost, self._url, self._given) from lost
        return None

    async def _open(self, place: int, application_name: str) -> Session:
        host, port = self._hosts[place]
        self._given = self._password()
        async with asyncio.timeout(self._seconds()):
            session: Session = await asyncpg.connect(
                f"postgresql://?{urlencode(self._tls())}",
                host=host,
                port=port,
                user=self._url.username,
                password=self._given,
                database=self._url.database,
                passfile=self._query.get("passfile"),
                ssl=_system_trust(self._query),
                timeout=self._seconds(),
                target_session_attrs=SessionAttribute.any,
                server_settings=self._startup(application_name),
                connection_class=Session,
            )
            try:
                await self._set_up(session)
            except BaseException:
                session.terminate()
                raise
        return session

    async def _set_up(self, session: Session) -> None:
        # A pooler without a free session accepts the login and then does not respond.
        limit = asyncio.timeout(_POOLER_SECONDS if self._pooled else None)
        try:
            async with limit:
                await session.set_up(self._query.get("options", ""))
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TooManyConnectionsError(NO_MORE_CONNECTIONS) from error

    def _seconds(self) -> float:
        given = int(self._query.get("connect_timeout", "0"))
        if given:
            return float(given)
        return connection.CONNECT_SECONDS if len(self._hosts) == 1 else _OF_SEVERAL_SECONDS

    def _tls(self) -> dict[str, str]:
        tls = {name: self._query[name] for name in TLS_PARAMETERS & self._query.keys()}
        if tls.get("sslrootcert") == "system":
            return {name: tls[name] for name in tls.keys() & {"sslnegotiation"}}
        for name in tls.keys() & {"sslrootcert", "sslcert", "sslkey", "sslcrl"}:
            tls[name] = os.path.expanduser(tls[name])  # noqa: PTH111 - a string is asked for
        return tls

    def _startup(self, application_name: str) -> dict[str, str]:
        """Return the startup message's parameters: those that PgBouncer accepts or the URL has."""
        given = self._query.get("application_name", "coingraph")
        settings = {"application_name": application_name.replace("coingraph", given, 1)}
        if options := self._query.get("options"):
            settings["options"] = options
        return settings


def _system_trust(query: Mapping[str, str]) -> ssl.SSLContext | None:
    """Trust the system's certificate authorities, as libpq does with sslrootcert=system."""
    if query.get("sslrootcert") != "system":
        return None
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if "sslcert" in query:
        password = query.get("sslpassword", "")
        context.load_cert_chain(query["sslcert"], query.get("sslkey"), lambda: password)
    return context
