"""Normalises the entries of CORS_ORIGINS to origins as browsers send them: RFC 6454, 6.2."""

import re
from functools import lru_cache

from pydantic_core import Url

ANY_ORIGIN = "*"
OPAQUE = "null"  # of a sandboxed frame, a file, a data: URL
_FILE = "file://"  # of a page in Android's WebView; other browsers send `null`
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_SHAPE = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<wildcard>\*\.)?"
    r"(?P<host>\[[0-9a-f:.]+\]|[^\s\x00-\x1f\x7f/,?#@\\%:*\[\]\"'<>|^`{}]+)"
    r"(?P<port>:(?:[0-9]{1,5}|\*))?/?",
    re.IGNORECASE,
)
_NO_ORIGIN = (
    "{!r} is no origin; write it like https://app.example.com, https://*.example.com for all its "
    "subdomains, capacitor://localhost or null, without a path, or * for all"
)
_TOO_WIDE = "{!r} would allow strangers; name at least two labels after *., or localhost"
_LONGEST_QUOTED = 60


def normal_origin(entry: str) -> str:
    """Normalise an entry of CORS_ORIGINS. Raises ValueError with one sentence.

    `*.` may stand for subdomains of any depth, `:*` for any port.
    """
    if entry == ANY_ORIGIN or entry.lower() == OPAQUE:
        return entry.lower()
    if entry.lower().rstrip("/") == _FILE.rstrip("/"):
        return _FILE
    shape = _SHAPE.fullmatch(entry)
    if shape is None:
        raise ValueError(_NO_ORIGIN.format(entry[:_LONGEST_QUOTED]))
    scheme, any_port = shape["scheme"].lower(), shape["port"] == ":*"
    try:
        url = Url(f"{scheme}://{shape['host']}{'' if any_port else shape['port'] or ''}")
    except ValueError:
        raise ValueError(_NO_ORIGIN.format(entry[:_LONGEST_QUOTED])) from None
    host = (url.host or "").lower()
    if "%" in host:  # non-ASCII letters in a scheme without DNS names
        raise ValueError(_NO_ORIGIN.format(entry[:_LONGEST_QUOTED]))
    if shape["wildcard"] and not _may_have_subdomains(host):
        raise ValueError(_TOO_WIDE.format(entry[:_LONGEST_QUOTED]))
    port = ":*" if any_port else f":{url.port}" if url.port is not None else ""
    port = "" if port == _DEFAULT_PORTS.get(scheme) else port
    return f"{scheme}://{shape['wildcard'] or ''}{host}{port}"


def _may_have_subdomains(host: str) -> bool:
    labels = host.rstrip(".").split(".")
    if host.startswith("[") or labels[-1].isdigit():  # an address
        return False
    return len(labels) > 1 or host == "localhost"


@lru_cache(maxsize=256)
def canonical(origin: str) -> str:
    """Normalise a received origin: some clients other than browsers append `:443`."""
    text = origin.lower()
    return text.removesuffix(_DEFAULT_PORTS.get(text.partition("://")[0], "\n"))


def is_pattern(entry: str) -> bool:
    """Return True if an entry has wildcards."""
    return "*" in entry and entry != ANY_ORIGIN


def pattern_of(entry: str) -> str:
    """Return the regular expression of an entry with wildcards."""
    return (
        re.escape(entry)
        .replace(r"://\*\.", r"://(?:[a-z0-9_-]+\.)+")
        .replace(r":\*", r"(?::[0-9]{1,5})?")
    )
