"""Who is calling: Bearer tokens, compared in constant time."""

import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from pydantic import SecretStr
from starlette.requests import HTTPConnection

from schema.context import Access, Caller

TOKEN_FILE = "refresh-token"  # noqa: S105 - a file's name


class Authenticator:
    """Knows the valid tokens. Without refresh tokens nobody may refresh."""

    def __init__(self, refresh: Iterable[SecretStr], read: Iterable[SecretStr]) -> None:
        self._refresh = [token.get_secret_value().encode() for token in refresh]
        self._read = [token.get_secret_value().encode() for token in read]

    def caller(self, connection: HTTPConnection) -> Caller:
        token = _bearer(connection)
        address = connection.client.host if connection.client else "unknown"
        return Caller(address=address, refresh=self._access(token))

    def _access(self, token: bytes | None) -> Access:
        if not self._refresh:
            return Access.NOT_SET_UP
        if token is None:
            return Access.MISSING_TOKEN
        if _is_one_of(token, self._refresh):
            return Access.GRANTED
        return Access.READ_ONLY if _is_one_of(token, self._read) else Access.WRONG_TOKEN

    def may_read(self, connection: HTTPConnection) -> bool:
        """Reads are open unless READ_TOKENS is set; a refresh token may read too."""
        if not self._read:
            return True
        token = _bearer(connection)
        return token is not None and _is_one_of(token, [*self._read, *self._refresh])


def _bearer(connection: HTTPConnection) -> bytes | None:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip().encode() if scheme.lower() == "bearer" and token.strip() else None


def _is_one_of(token: bytes, valid: list[bytes]) -> bool:
    # summed up, not `any`: the time taken must not tell which one it was
    return sum(hmac.compare_digest(token, other) for other in valid) > 0


def generated_token(data_dir: Path) -> tuple[SecretStr, bool]:
    """Read the token kept in `data_dir`, or make one; True when it is new."""
    path = data_dir / TOKEN_FILE
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if kept:
        return SecretStr(kept), False
    token = secrets.token_urlsafe(32)
    scratch = path.with_name(f".{TOKEN_FILE}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    return SecretStr(token), True
