"""Classifies connection errors: outages, which end by themselves, and refusals, which do not."""

import re
import ssl
from collections.abc import Mapping
from pathlib import Path

import asyncpg
from sqlalchemy.engine import URL

from models.postgres.circuit_breaker import (
    NO_MORE_CONNECTIONS,
    DatabaseRefusedError,
    DatabaseUnavailableError,
    TooManyConnectionsError,
    WrongPasswordError,
    unavailable_because,
)

TRANSACTION_POOLING = (
    "it leads through a pooler in transaction mode, where locks and notifications get lost. "
    "Connect to PostgreSQL directly, or set the pooler to session mode for this database "
    "(PgBouncer: pool_mode=session)."
)

# Connection exceptions, insufficient resources, operator intervention, system and internal errors:
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING = ("08", "53", "57", "58", "XX")
_PROTOCOL_VIOLATION = "08P01"  # PgBouncer's code for all its errors, including outages
_REFUSED_BY_POOLER = re.compile(
    r"unsupported startup parameter|no such (database|user)|password authentication failed|"
    r"SASL authentication failed|auth(entication)? failed|not allowed|database does not allow|"
    r"does not exist",
    re.IGNORECASE,
)
_CROWDED_POOLER = re.compile(r"no more connections allowed|too many", re.IGNORECASE)
_REMEDIES: Mapping[str, str] = {
    "28P01": "Correct the password; in a URL write @ as %40, : as %3A, / as %2F and % as %25.",
    "28000": "Correct the role's name, allow it to log in (ALTER ROLE … LOGIN), "
    "or add a line for it to pg_hba.conf.",
    "3D000": "Create it (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0), or name another.",
    "42501": "Grant the role what it lacks (GRANT CONNECT ON DATABASE … TO …).",
    "55000": "Name a database that takes connections.",
}
_SHORT = 3
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")


def connect_error(
    error: Exception, url: URL, password: str | None = None
) -> DatabaseUnavailableError:
    """Return the error to raise for a failed connection attempt with this password."""
    if isinstance(error, DatabaseUnavailableError):
        return error
    state = getattr(error, "sqlstate", None)
    text = _without(password, _first_line(error))
    if isinstance(state, str) and (known := _server_error(state, text)):
        return known
    refusal = None if state else _refusal_of_client(error, text, url)
    if refusal is not None:
        return DatabaseRefusedError(refusal)
    return DatabaseUnavailableError(unavailable_because(error) or "The database cannot be reached.")


def _server_error(state: str, text: str) -> DatabaseUnavailableError | None:
    """Classify the server's error; None means a temporary outage."""
    if state == "53300" or (state == _PROTOCOL_VIOLATION and _CROWDED_POOLER.search(text)):
        return TooManyConnectionsError(NO_MORE_CONNECTIONS)
    if state == _PROTOCOL_VIOLATION and _REFUSED_BY_POOLER.search(text):
        remedy = "Correct it there, or in the pooler's configuration."
        if "startup parameter" in text:
            remedy = (
                "Leave the parameter out of the URL, or name it in the pooler's "
                "ignore_startup_parameters."
            )
        return DatabaseRefusedError(f"the pooler says: {text}. {remedy}")
    if state.startswith(_PASSING):
        return None
    if state in {"26000", "42P05"}:  # prepared statements of another client
        return DatabaseRefusedError(TRANSACTION_POOLING)
    remedy = _REMEDIES.get(state, "Correct the URL, or the settings of the role or the database.")
    refusal = WrongPasswordError if state == "28P01" else DatabaseRefusedError
    return refusal(f"the server says: {text}. {remedy}")


def _refusal_of_client(error: Exception, text: str, url: URL) -> str | None:
    for name in _FILES:
        path = str(url.query.get(name, ""))
        if path and path != "system" and (why := _unreadable(path)):
            return f"{name}: {path} cannot be read: {why}."
    if isinstance(error, ssl.SSLError) or "rejected SSL upgrade" in text:
        return _refusal_of_tls(error, text, str(url.query.get("sslmode", "prefer")))
    if isinstance(error, PermissionError):
        return f"permission denied: {error.filename or text}. Allow this account to use it."
    if isinstance(error, OSError | asyncpg.InternalClientError):
        return None
    if "root certificate" in text:
        text += ". Name the server's certificate authority with sslrootcert=FILE, or =system"
    return f"{text}."


def _refusal_of_tls(error: Exception, text: str, mode: str) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not accepted: {error.verify_message or text}. Name the "
            "certificate authority that signed it with sslrootcert=FILE, and the host as the "
            "certificate has it; sslmode=require encrypts without checking."
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return None  # the connection was lost
    if isinstance(error, ssl.SSLError):
        return (
            f"TLS failed: {error.reason or text}. Check sslrootcert, sslcert and sslkey, and "
            "which certificates the server asks for."
        )
    if mode in {"prefer", "allow"}:
        return None
    return (
        f"the server offers no TLS, but sslmode={mode} asks for it. Turn TLS on at the server, or "
        "set sslmode=prefer on a network that you trust."
    )


def _unreadable(path: str) -> str | None:
    try:
        with Path(path).expanduser().open("rb"):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _without(password: str | None, text: str) -> str:
    """Redact the password, which a server may quote; a short one only as a separate word."""
    if not password:
        return text
    form = re.escape(password)
    return re.sub(form if len(password) > _SHORT else rf"(?<!\w){form}(?!\w)", "[hidden]", text)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else repr(error)).rstrip(".")
