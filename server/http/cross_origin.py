"""Cross-origin requests: which pages may send them, what they may read, how preflights fail.

One rule, `Origins`, decides for requests, preflights and WebSocket handshakes.
docs/decisions/0018-graphql-over-http.md has the reasons.
"""

import re
from collections.abc import Mapping, Sequence

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schema.errors import failure
from server.config.origins import ANY_ORIGIN, canonical, is_pattern, pattern_of

# Headers that no form, image or script can send: browsers send them only after a preflight.
_PREFLIGHTED = (b"apollo-require-preflight", b"x-apollo-operation-name", b"authorization")
_METHODS = ("GET", "HEAD", "POST")
_EXPOSED = (
    *("ETag", "Retry-After", "Server-Timing", "X-Cache", "X-Request-ID", "RateLimit"),
    *("RateLimit-Policy", "WWW-Authenticate", "Content-Disposition", "Age"),
)
_EXPOSE = (b"access-control-expose-headers", ", ".join(_EXPOSED).encode())
_VARY = (b"vary", b"Origin")
_DAY = 86400
_LONGEST_CANONICAL = 300  # characters: no origin of a page is longer
_LONGEST_QUOTED = 80


class Origins:
    """The origins that CORS_ORIGINS allows; `*` allows all."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self.all = ANY_ORIGIN in allowed
        self._exact = frozenset(each for each in allowed if not is_pattern(each))
        patterns = "|".join(pattern_of(each) for each in allowed if is_pattern(each))
        self._patterns = re.compile(patterns) if patterns else None

    def __bool__(self) -> bool:
        return bool(self._exact) or self._patterns is not None

    def allows(self, origin: str) -> bool:
        """Return True if CORS_ORIGINS allows this origin."""
        if self.all or origin in self._exact:
            return True
        if not self or len(origin) > _LONGEST_CANONICAL:
            return False
        text = canonical(origin)
        return text in self._exact or (
            self._patterns is not None and self._patterns.fullmatch(text) is not None
        )

    def allows_websocket(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return True if a WebSocket may be opened: by our own page, an allowed page, or no page.

        Browsers send Origin with every handshake and send no preflight before it.
        """
        origin = headers.get(b"origin")
        return origin is None or _is_own(origin, headers) or self.allows(origin.decode("latin-1"))

    def is_untrusted(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return True if a page of another site sends this through a browser without a preflight.

        Only browsers send Origin and Sec-Fetch-Site, and no page can forge them. A followed link is
        trusted: its response is shown to the user, not to the page that contains the link.
        """
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if origin is None and site is None:  # no browser, or a browser without Fetch Metadata
            return False
        if self.all or any(name in headers for name in _PREFLIGHTED):
            return False
        if origin is not None:
            return not self.allows_websocket(headers)
        if site in {b"same-origin", b"none"}:
            return False
        return headers.get(b"sec-fetch-dest") != b"document"

    def response_headers(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """Return the CORS headers of a response that does not pass through `CrossOrigin`."""
        if not self:
            return []
        if self.all:
            return [(b"access-control-allow-origin", b"*"), _EXPOSE, _VARY]
        if origin is None or not self.allows(origin):
            return [_VARY]
        allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
        return [allowed, _EXPOSE, _VARY]


def _is_own(origin: bytes, headers: Mapping[bytes, bytes]) -> bool:
    """Return True if the page has the host of the request.

    The scheme is not compared, because a proxy may terminate TLS. `Sec-Fetch-Site` is valid also
    behind a proxy that replaces Host.
    """
    if headers.get(b"sec-fetch-site") == b"same-origin":
        return True
    host = headers.get(b"host", b"").decode("latin-1").lower()
    if not host:
        return False
    scheme, _, page = origin.decode("latin-1").lower().partition("://")
    return page == host or canonical(f"{scheme}://{page}") == canonical(f"{scheme}://{host}")


class CrossOrigin(CORSMiddleware):
    """Starlette's CORS middleware with the rule of `Origins`. An allowed page may send any header.

    Credentials are never allowed: pages send their token in a header, and there are no cookies.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        super().__init__(
            app,
            allow_origins=[ANY_ORIGIN] if origins.all else [],
            allow_methods=_METHODS,
            allow_headers=["*"],  # the requested ones
            allow_private_network=True,
            expose_headers=_EXPOSED,
            max_age=_DAY,
        )
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "http" and (self._origins or scope["method"] == "OPTIONS"):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """Return True if CORS_ORIGINS allows this origin."""
        return self._origins.allows(origin)

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        """Send `*` also without Origin, because a cache may serve the response to a page."""
        start = message["type"] == "http.response.start"
        if start and self._origins.all and "origin" not in request_headers:
            MutableHeaders(scope=message).update(self.simple_headers)
        await super().send(message, send, request_headers)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight; a rejected one has the reason in JSON."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:  # noqa: PLR2004 - OK
            return response
        headers = {"vary": response.headers["vary"], "cache-control": "no-store"}
        origin = request_headers["origin"]
        if not self._origins:
            headers["allow"] = ", ".join(_METHODS)
            return _refusal(405, "CORS_ORIGINS is not set, so no page of another origin", headers)
        if not self.is_allowed_origin(origin):
            shown = origin[:_LONGEST_QUOTED]
            return _refusal(400, f"CORS_ORIGINS does not name {shown!r}, so no page of it", headers)
        headers |= {n: v for n, v in response.headers.items() if n.startswith("access-control-")}
        method = request_headers["access-control-request-method"][:_LONGEST_QUOTED]
        answer = failure("BAD_USER_INPUT", f"Use GET or POST, not {method!r}.", 400)
        return Response(orjson.dumps(answer.body), answer.status, headers, "application/json")


def _refusal(status: int, sentence: str, headers: Mapping[str, str]) -> Response:
    answer = failure(
        "FORBIDDEN", f"{sentence} may send requests. Add its origin on the server.", status
    )
    return Response(orjson.dumps(answer.body), status, headers, "application/json")
