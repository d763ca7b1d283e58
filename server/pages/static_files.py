"""Static files: compressed once, cached by version, and charged like any request."""

import mimetypes
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from server.graphql.admission import Admission
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import RequestRefusedError
from server.graphql.response import encode, names_etag
from server.http.backpressure import send_body
from server.http.compression import SMALLEST_COMPRESSED, ResponseBody, choose_coding

_NOT_MODIFIED = 304
_FOREVER = b"public, max-age=31536000, immutable"
_CHECKED = b"no-cache"


class StaticBody(ResponseBody):
    """A body that never changes while the process runs."""

    __slots__ = ()

    def etag_in(self, coding: str | None) -> bytes:
        """Return the ETag in a coding: strong without one, else weak."""
        return self.etag if coding is not None else self.etag.removeprefix(b"W/")


async def send_static(
    body: StaticBody, request: GraphQLRequest, headers: Mapping[bytes, bytes], send: Send
) -> None:
    """Send a body in the coding that the client prefers, or 304 if the client has it."""
    asked = request.headers
    coding = None
    if len(body.identity) >= SMALLEST_COMPRESSED and b"accept-encoding" in asked:
        coding = choose_coding(asked[b"accept-encoding"])
    content = body.in_coding(coding)
    if content is None:
        assert coding is not None  # noqa: S101 - identity always exists
        content = await body.compress(coding)
    status, etag = 200, body.etag_in(coding)
    known = asked.get(b"if-none-match")
    sent = [*headers.items(), (b"etag", etag), *request.rate_limit()]
    if known is not None and names_etag(known, etag):
        status, content = _NOT_MODIFIED, b""
    else:
        sent.append((b"content-length", b"%d" % len(content)))
        if coding is not None:
            sent.append((b"content-encoding", coding.encode()))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send_body(content if request.scope["method"] != "HEAD" else b"", request.scope, send)


class StaticFiles:
    """An ASGI application that serves the files `names` of a folder, to be mounted.

    A file may be cached for ever if the request has its current version in `?v=`. During a rolling
    update an old server receives requests for new versions; caches must not store its files.
    """

    def __init__(self, folder: Path, names: Collection[str], admission: Admission) -> None:
        self._folder = folder
        self._names = frozenset(names)
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close"})
            return
        request = self._admission.new_request(scope)
        try:
            await self._admission.charge_request(request)
        except RequestRefusedError as error:
            await _send_refusal(error, request, send)
            return
        name = scope["path"].removeprefix(scope["root_path"]).removeprefix("/")
        if name not in self._names:
            raise HTTPException(404)
        if scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        body, version, media_type = _load(self._folder / name)
        cache_control = _FOREVER if scope["query_string"] == b"v=" + version else _CHECKED
        headers = {
            b"content-type": media_type,
            b"cache-control": cache_control,
            b"vary": b"Accept-Encoding",
        }
        await send_static(body, request, headers, send)


async def _send_refusal(error: RequestRefusedError, request: GraphQLRequest, send: Send) -> None:
    """Send the error of a rejected request."""
    status, headers, content = await encode(error.answer, headers=error.headers).negotiate({})
    headers += (b"cache-control", b"no-store"), *request.rate_limit()
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def version_of(path: Path) -> str:
    """Return the version of a file for its URL, a part of its hash."""
    return _load(path)[1].decode()


@cache
def _load(path: Path) -> tuple[StaticBody, bytes, bytes]:
    """Return a file, its version and its media type."""
    body = StaticBody(path.read_bytes())
    guessed = mimetypes.guess_type(path.name)[0] or "text/plain"
    textual = guessed.startswith("text/") or guessed == "image/svg+xml"
    media_type = guessed + "; charset=utf-8" * textual
    return body, body.etag.strip(b'W/"')[:12], media_type.encode()
