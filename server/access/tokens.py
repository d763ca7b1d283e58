"""Authentication by Bearer tokens, compared in constant time."""

import hmac
from collections.abc import Iterable
from hashlib import sha256

from pydantic import SecretStr
from starlette.requests import HTTPConnection

from schema.context import Access, Caller
from server.access.callers import caller_of


class Authenticator:
    """Checks tokens. Without `refresh` tokens nobody may refresh; without `read` all may read."""

    def __init__(self, refresh: Iterable[SecretStr], read: Iterable[SecretStr]) -> None:
        self._refresh = [_bytes(token) for token in refresh]
        self._read = [_bytes(token) for token in read]
        self._digests = {sha256(token).hexdigest() for token in (*self._refresh, *self._read)}

    @property
    def reads_are_open(self) -> bool:
        """True if queries need no token."""
        return not self._read

    def caller(self, connection: HTTPConnection) -> Caller:
        """Return the caller of a request or WebSocket, with its access rights."""
        token = _bearer(connection)
        address = connection.client.host if connection.client else None
        return Caller(
            address=address or "unknown",
            read=self._reading(token),
            refresh=self._refreshing(token),
            name=caller_of(address),
        )

    def known_token(self, connection: HTTPConnection) -> str | None:
        """Return the SHA-256 of the valid token of a request; None without a valid one."""
        token = _bearer(connection)
        digest = token and sha256(token).hexdigest()
        return digest if digest in self._digests else None

    def _reading(self, token: bytes | None) -> Access:
        """Return the read access; a refresh token grants it too."""
        if not self._read:
            return Access.GRANTED
        if token is None:
            return Access.MISSING_TOKEN
        known = _is_one_of(token, [*self._read, *self._refresh])
        return Access.GRANTED if known else Access.WRONG_TOKEN

    def _refreshing(self, token: bytes | None) -> Access:
        if not self._refresh:
            return Access.NOT_SET_UP
        if token is None:
            return Access.MISSING_TOKEN
        if _is_one_of(token, self._refresh):
            return Access.GRANTED
        return Access.READ_ONLY if _is_one_of(token, self._read) else Access.WRONG_TOKEN


def _bytes(token: SecretStr) -> bytes:
    # the environment may hold bytes that are not UTF-8; they are compared as they are
    return token.get_secret_value().encode(errors="surrogateescape")


def _bearer(connection: HTTPConnection) -> bytes | None:
    # Starlette decodes header bytes as Latin-1.
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    sent = token.strip(" \t").encode("latin-1")
    return sent if scheme.lower() == "bearer" and sent else None


def _is_one_of(token: bytes, valid: list[bytes]) -> bool:
    # `sum`, not `any`: the time must not reveal which token matched
    return sum(hmac.compare_digest(token, other) for other in valid) > 0
