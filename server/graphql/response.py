"""HTTP responses: content negotiation, conditional requests and Cache-Control."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import time

import orjson

from resolvers.cache_dependencies import CacheDependencies
from schema.errors import STATUS, UNAVAILABLE, Answer, Lenience
from server.http.compression import SMALLEST_COMPRESSED, ResponseBody, choose_coding
from server.http.negotiation import GRAPHQL_JSON, JSON, Accepted, accepted

RETRY_AFTER_SECONDS = 5
RELATIVE_SECONDS = 1.0  # the greatest age of a cached response that is relative to now

_VARY = (b"vary", b"Accept, Accept-Encoding, Authorization")
_NO_STORE = b"no-store"
_PRIVATE = b"private, no-store"
_MUST_REVALIDATE = b"no-cache"
_JSON = (b"content-type", JSON + b"; charset=utf-8")
_GRAPHQL_JSON = (b"content-type", GRAPHQL_JSON + b"; charset=utf-8")
_NOT_MODIFIED = 304
_STATUS_200_FOR = {
    Lenience.NEVER: frozenset[Accepted](),
    Lenience.JSON_BY_NAME: {Accepted.JSON_BY_NAME},
    Lenience.ANY_JSON: {Accepted.JSON_BY_NAME, Accepted.JSON},
}

Headers = Sequence[tuple[bytes, bytes]]
NegotiatedResponse = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and content."""


class EncodedResponse:
    """A response in JSON, from which `negotiate` makes the form that a client accepts.

    `ok`: a query that succeeded and whose data is public. `moment`: when its operation began.
    `until`: when its data becomes invalid by time alone, infinity for never. `cacheable_until`: the
    same, at most RELATIVE_SECONDS after `moment` for data that is relative to now. All in seconds
    since 1970.
    """

    __slots__ = (
        "body",
        "cacheable_until",
        "dependencies",
        "headers",
        "lenience",
        "ok",
        "status",
        "until",
    )

    def __init__(
        self,
        body: bytes,
        status: int,
        dependencies: CacheDependencies,
        *,
        moment: float = 0.0,
        ok: bool = False,
        headers: Headers = (),
        lenience: Lenience = Lenience.NEVER,
    ) -> None:
        self.body = ResponseBody(body)
        self.status = status
        self.lenience = lenience
        self.dependencies = dependencies
        self.ok = ok
        self.headers = headers
        self.until = math.inf if dependencies.until is None else dependencies.until.timestamp()
        self.cacheable_until = (
            min(self.until, moment + RELATIVE_SECONDS) if dependencies.relative else self.until
        )

    async def negotiate(self, asked: dict[bytes, bytes]) -> NegotiatedResponse:
        """Return the status, headers and content for the headers of a request, `asked`."""
        headers = [_VARY, *self.headers]
        if self.ok:
            headers.append((b"etag", self.body.etag))
            known = asked.get(b"if-none-match")
            if known is not None and names_etag(known, self.body.etag):
                return _NOT_MODIFIED, headers, b""
        content = self.body.identity
        codings = asked.get(b"accept-encoding")
        if codings and len(content) >= SMALLEST_COMPRESSED and (coding := choose_coding(codings)):
            content = self.body.in_coding(coding) or await self.body.compress(coding)
            headers.append((b"content-encoding", coding.encode()))
        taken = accepted(asked.get(b"accept", b""))
        headers.append(_GRAPHQL_JSON if taken is Accepted.GRAPHQL else _JSON)
        headers.append((b"content-length", b"%d" % len(content)))
        status = 200 if taken in _STATUS_200_FOR[self.lenience] else self.status
        return status, headers, content


def encode(
    answer: Answer,
    dependencies: CacheDependencies | None = None,
    *,
    moment: float = 0.0,
    ok: bool = False,
    headers: Headers = (),
) -> EncodedResponse:
    """Encode an answer as JSON and add the headers that its status requires."""
    more = list(headers)
    if answer.status in {STATUS[UNAVAILABLE], STATUS["RATE_LIMITED"]}:
        more.append((b"retry-after", b"%d" % (answer.retry_after or RETRY_AFTER_SECONDS)))
    if answer.status == STATUS["UNAUTHENTICATED"]:
        more.append((b"www-authenticate", b'Bearer realm="coingraph"'))
    body = orjson.dumps(answer.body)
    dependencies = dependencies or CacheDependencies()
    return EncodedResponse(
        body,
        answer.status,
        dependencies,
        moment=moment,
        ok=ok,
        headers=more,
        lenience=answer.lenience,
    )


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """`max_age` and `stale_while_revalidate` of public responses, in seconds: RFC 5861."""

    max_age: int
    stale_while_revalidate: int

    def cache_control(self, response: EncodedResponse, *, private: bool) -> bytes:
        """Return the value of Cache-Control."""
        dependencies = response.dependencies
        if not response.ok:
            return _PRIVATE if private else _NO_STORE
        if dependencies.uncacheable:
            return _MUST_REVALIDATE
        left = response.until - time()
        age = int(min(self.max_age, left, RELATIVE_SECONDS if dependencies.relative else left))
        if age <= 0:
            return _MUST_REVALIDATE
        stale = 0 if dependencies.relative else int(min(self.stale_while_revalidate, left - age))
        return b"public, max-age=%d" % age + (b", stale-while-revalidate=%d" % stale) * (stale > 0)


def names_etag(if_none_match: bytes, etag: bytes) -> bool:
    """Return True if `if_none_match` lists `etag` or is `*`: weak comparison, RFC 9110 8.8.3.2."""
    opaque = etag.removeprefix(b"W/")
    tags = (tag.strip() for tag in if_none_match.split(b","))
    return any(tag == b"*" or tag.removeprefix(b"W/") == opaque for tag in tags)
