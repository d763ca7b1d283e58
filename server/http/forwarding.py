"""Headers of trusted reverse proxies: the client's address, the scheme, host and path prefix."""

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from server.config.addresses import plain_address, spellings
from server.config.root_path import normal_root_path

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

_HOST = re.compile(
    rb"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?"
)
_LONGEST_CLIENT = 64  # characters: no address is longer


class Forwarding:
    """ASGI middleware that sets the client's address and the path of each request.

    X-Forwarded-For, -Proto, -Host and -Prefix are read only from `proxies`. A request has the
    prefix in its path unless the proxy strips it; `path` and `root_path` are set as ASGI requires,
    so that responses name the public path. A trailing slash after a route of `paths` is ignored,
    because a redirect would need the public address.
    """

    def __init__(
        self, app: ASGIApp, *, proxies: Sequence[str], root_path: str, paths: Collection[str]
    ) -> None:
        self._app = app
        self._root_path = root_path
        self._paths = frozenset(paths)
        self._believed: ProxyHeadersMiddleware | None = None
        if proxies:
            trusted = [each for proxy in proxies for each in spellings(proxy)]
            self._believed = ProxyHeadersMiddleware(cast("ASGI3Application", self._go_on), trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        believed, peer = self._believed, scope.get("client")
        if believed is None or peer is None or peer[0] not in believed.trusted_hosts:
            self._place(scope, self._root_path)
            await self._app(scope, receive, send)
            return
        prefix = _take_host_and_prefix(scope)
        self._place(scope, self._root_path if prefix is None else prefix)
        await believed(scope, receive, send)  # type: ignore[arg-type] # its types are uvicorn's

    async def _go_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        host, port = scope["client"]
        scope["client"] = plain_address(host[:_LONGEST_CLIENT]), port
        await self._app(scope, receive, send)

    def _place(self, scope: Scope, prefix: str) -> None:
        """Set `path` to the prefix and the route, whether the proxy stripped the prefix or not."""
        path = scope["path"]
        if not prefix and path in self._paths:  # the common case
            return
        route = self._route(path)
        for start in {prefix: None, self._root_path: None}:
            if start and route not in self._paths and f"{path}/".startswith(f"{start}/"):
                route = self._route(path[len(start) :] or "/")
        scope["root_path"] = prefix
        scope["path"] = prefix + route

    def _route(self, path: str) -> str:
        without = path.rstrip("/")
        return without if without in self._paths else path


def _take_host_and_prefix(scope: Scope) -> str | None:
    """Replace Host by X-Forwarded-Host; return the valid prefix, else None."""
    host: bytes | None = None
    prefixes: list[bytes] = []
    for name, value in scope["headers"]:
        if name == b"x-forwarded-host" and host is None:
            host = value.partition(b",")[0].strip()
        elif name == b"x-forwarded-prefix":
            prefixes.append(value)
    if host is not None and _HOST.fullmatch(host):
        others = [header for header in scope["headers"] if header[0] != b"host"]
        scope["headers"] = [*others, (b"host", host)]
    return _prefix(b",".join(prefixes).decode("latin-1"))


def _prefix(sent: str) -> str | None:
    """Parse X-Forwarded-Prefix; each of several proxies appends its own. None if invalid."""
    parts = [part.strip() for part in sent.split(",")]
    if not all(part.startswith("/") for part in parts):
        return None
    try:
        return normal_root_path("".join(normal_root_path(part) for part in parts))
    except ValueError:
        return None
