"""The network configuration of requests to upstream; `server` reads it from the environment."""

import ssl
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Outbound:
    """Proxy and TLS configuration.

    `proxy` is None for a direct connection. `verify` holds the trusted certificates, True for
    certifi's. `secrets` must not appear in errors. `fault` is one sentence if the configuration is
    unusable, so that no request can be sent.
    """

    proxy: httpx.Proxy | None = None
    verify: ssl.SSLContext | bool = True
    secrets: frozenset[str] = frozenset()
    fault: str | None = None
