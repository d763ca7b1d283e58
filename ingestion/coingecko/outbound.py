"""How requests to upstream leave this machine; `server` reads it from the environment."""

import ssl
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Outbound:
    """The proxy, None for none; the certificates that are believed, True for certifi's.

    `secrets` must not show in errors. With a `fault`, one sentence, no request can leave.
    """

    proxy: httpx.Proxy | None = None
    verify: ssl.SSLContext | bool = True
    secrets: frozenset[str] = frozenset()
    fault: str | None = None
