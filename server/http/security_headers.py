"""Security headers, which tell browsers what a response may do.

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


# For everything that is no page. HSTS is for whoever ends TLS: docs/security.md.
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

# Pictures in answers are shown on hover, hence no host but ours for images: opening a query
# must not tell others about it. GraphiQL's menus write <style> elements. In `connect-src`,
# 'self' is the same host's WebSockets, too.
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
    """Adds the headers to every answer; a page brings a policy of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message["headers"]
                message["headers"] = [*given, *SECURITY_HEADERS]
                for name, _ in given:  # a comprehension takes three times as long
                    if name == _CSP:
                        message["headers"] = [*given, *_HEADERS]
            await send(message)

        await self._app(scope, receive, add)
