"""Content negotiation: Accept and Accept-Encoding. RFC 9110, 12.4.2 and 12.5."""

import re
from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from typing import TypeVar

GRAPHQL_JSON = b"application/graphql-response+json"
JSON = b"application/json"
_EVENTS = b"text/event-stream"
_HTML = b"text/html"
_LONGEST_CACHED = 500  # bytes of a header
_MOST_CACHED, _MOST_LONG = 256, 8  # entries; longer headers are cached for about one request
T = TypeVar("T")
_WEIGHT = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def cached_by_header(choose: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Cache the result of `choose` by header, so that a request parses a header only once."""
    short, long = lru_cache(_MOST_CACHED)(choose), lru_cache(_MOST_LONG)(choose)

    def look_up(header: bytes) -> T:
        return (short if len(header) <= _LONGEST_CACHED else long)(header)

    return look_up


def weights(header: bytes) -> dict[bytes, float]:
    """Return the weight (0 to 1) of each name in lower case; of a repeated name the highest."""
    found: dict[bytes, float] = {}
    for part in header.lower().split(b","):
        name, *parameters = (piece.strip() for piece in part.split(b";"))
        found[name] = max(found.get(name, 0.0), _weight(parameters))
    return found


def _weight(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            value = value.strip()
            return float(value) if _WEIGHT.fullmatch(value) else 0.0
    return 1.0


@cached_by_header
def prefers_page(accept: bytes) -> bool:
    """Return True if HTML is named and no JSON media type has a higher weight."""
    asked = weights(accept)
    html = asked.get(_HTML, 0.0)
    return html > 0 and html >= max(_of_type(asked, JSON), _of_type(asked, GRAPHQL_JSON))


class Accepted(Enum):
    """The media type of a response, and whether the client named it."""

    GRAPHQL = auto()
    JSON_BY_NAME = auto()
    JSON = auto()
    NEITHER = auto()


@cached_by_header
def prefers_events(accept: bytes) -> bool:
    """Return True if Server-Sent Events are named with a higher weight than any JSON media type.

    Clients that accept both, for example urql with its queries, receive JSON.
    """
    asked = weights(accept)
    return asked.get(_EVENTS, 0.0) > max(asked.get(JSON, 0.0), asked.get(GRAPHQL_JSON, 0.0))


@cached_by_header
def accepted(accept: bytes) -> Accepted:
    """Choose the media type: GraphQL's own if it is named and JSON has no higher weight."""
    if not accept.strip():
        return Accepted.JSON
    asked = weights(accept)
    graphql, json = asked.get(GRAPHQL_JSON, 0.0), asked.get(JSON, 0.0)
    if graphql > 0 and graphql >= json:
        return Accepted.GRAPHQL
    if json > 0:
        return Accepted.JSON_BY_NAME
    if _of_type(asked, JSON) > 0:
        return Accepted.JSON
    return Accepted.GRAPHQL if _of_type(asked, GRAPHQL_JSON) > 0 else Accepted.NEITHER


def _of_type(asked: dict[bytes, float], media_type: bytes) -> float:
    """Return the weight of the most specific range that matches this type, else 0."""
    main = media_type.partition(b"/")[0]
    for media_range in (media_type, main + b"/*", b"*/*"):
        if media_range in asked:
            return asked[media_range]
    return 0.0
