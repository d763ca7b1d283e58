"""What clients would rather be sent: Accept and Accept-Encoding. RFC 9110, 12.4.2 and 12.5."""

import re
from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from typing import TypeVar

GRAPHQL_JSON = b"application/graphql-response+json"
JSON = b"application/json"
_EVENTS = b"text/event-stream"
_HTML = b"text/html"
_LONGEST_KEPT = 500  # bytes of a header
_MOST_KEPT, _MOST_LONG = 256, 8  # what is chosen for longer ones is remembered for one request
T = TypeVar("T")
_WEIGHT = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def cached_by_header(choose: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Remember what was chosen for a header, so that each is read once for a request."""
    short, long = lru_cache(_MOST_KEPT)(choose), lru_cache(_MOST_LONG)(choose)

    def look_up(header: bytes) -> T:
        return (short if len(header) <= _LONGEST_KEPT else long)(header)

    return look_up


def weights(header: bytes) -> dict[bytes, float]:
    """Give the weight of each name in a list, in lower case: the highest of one named twice."""
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
    """Whether HTML is asked for by name, and no kind of JSON rather than it."""
    asked = weights(accept)
    html = asked.get(_HTML, 0.0)
    return html > 0 and html >= max(_of_type(asked, JSON), _of_type(asked, GRAPHQL_JSON))


class Accepted(Enum):
    """The media type that a client is sent, and whether it named it."""

    GRAPHQL = auto()
    JSON_BY_NAME = auto()
    JSON = auto()
    NEITHER = auto()


@cached_by_header
def prefers_events(accept: bytes) -> bool:
    """Whether Server-Sent Events are asked for by name, and rather than any kind of JSON.

    Clients that take either, such as urql for its queries, name JSON too and are sent that.
    """
    asked = weights(accept)
    return asked.get(_EVENTS, 0.0) > max(asked.get(JSON, 0.0), asked.get(GRAPHQL_JSON, 0.0))


@cached_by_header
def accepted(accept: bytes) -> Accepted:
    """Choose GraphQL's own media type where it is asked for by name, and JSON not rather."""
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
    """Give the weight of the most specific range that has this type, 0 without any."""
    main = media_type.partition(b"/")[0]
    for media_range in (media_type, main + b"/*", b"*/*"):
        if media_range in asked:
            return asked[media_range]
    return 0.0
