"""Security headers, by which browsers restrict what a response may do.

docs/decisions/0018-graphql-over-http.md has the reasons.
"""

from secure import Secure
from secure.headers import (
    ContentSecurityPolicy,
    CrossOriginOpenerPolicy,
    CrossOriginResourcePolicy,
    ReferrerPolicy,
    XContentTypeOptions,
    XFrameOptions,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CSP = b"content-security-policy"


def _encoded(secure: Secure) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((n.lower().encode(), value.encode()) for n, value in secure.header_items())


# For all responses. HSTS belongs to the proxy that terminates TLS: docs/security.md.
_HEADERS = _encoded(
    Secure(
        coop=CrossOriginOpenerPolicy().same_origin(),
        corp=CrossOriginResourcePolicy().same_origin(),
        referrer=ReferrerPolicy().no_referrer(),
        xcto=XContentTypeOptions().nosniff(),
        xfo=XFrameOptions().deny(),
    )
)
_POLICY_OF_DATA = _encoded(
    Secure(csp=ContentSecurityPolicy().default_src("'none'").frame_ancestors("'none'"))
)
SECURITY_HEADERS = (*_HEADERS, *_POLICY_OF_DATA)

# GraphiQL shows images of a response on hover, hence no other host in `img-src`: opening a query
# must not send requests to other hosts. GraphiQL's menus write <style> elements. In `connect-src`,
# 'self' includes WebSockets of the same host.
CONTENT_SECURITY_POLICY = (
    ContentSecurityPolicy()
    .default_src("'none'")
    .script_src("'self'")
    .style_src("'self'", "'unsafe-inline'")
    .img_src("'self'", "data:")
    .font_src("data:")
    .connect_src("'self'")
    .base_uri("'none'")
    .form_action("'none'")
    .frame_ancestors("'none'")
    .header_value
)


class SecurityHeaders:
    """ASGI middleware that adds the headers to every response; a page has its own policy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message["headers"]
                message["headers"] = [*given, *SECURITY_HEADERS]
                for name, _ in given:  # three times faster than a comprehension
                    if name == _CSP:
                        message["headers"] = [*given, *_HEADERS]
            await send(message)

        await self._app(scope, receive, add)
