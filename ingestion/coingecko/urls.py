"""CoinGecko's hosts and API keys, and which names fit in its URL paths and lists."""

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Literal
from urllib.parse import quote, urlsplit

import httpx

from ingestion.coingecko import errors

ApiPlan = Literal["keyless", "demo", "pro"]

PUBLIC_URL = "https://api.coingecko.com/api/v3"
PRO_URL = "https://pro-api.coingecko.com/api/v3"
KEY_HEADER = {"demo": "x-cg-demo-api-key", "pro": "x-cg-pro-api-key"}
_IDS_PER_CALL = 250
_IDS_LENGTH = 6_000  # characters; servers and proxies reject URLs longer than about 8,000
_NAME_LENGTH = 200
_SEPARATOR = re.compile(r"[\s,\x00-\x1f\x7f]")


def quote_chunks(coin_ids: Iterable[str]) -> list[list[str]]:
    """Divide coins among calls for newest prices. Omits ids that do not fit in a list."""
    return list(_chunks(filter(fits_in_list, coin_ids)))


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    length = 0
    for coin_id in ids:
        more = len(quote(coin_id, errors="replace")) + 1
        if chunk and (len(chunk) == _IDS_PER_CALL or length + more > _IDS_LENGTH):
            yield chunk
            chunk, length = [], 0
        chunk.append(coin_id)
        length += more
    if chunk:
        yield chunk


def fits_in_list(name: str) -> bool:
    """Return True if a name fits in a comma-separated list; CoinGecko cuts lists at a space."""
    return 0 < len(name) <= _NAME_LENGTH and not _SEPARATOR.search(name)


def segment(coin_id: str) -> str:
    """Return `coin_id` encoded as exactly one path segment. Raises NotFound if it is unusable."""
    if not coin_id.strip(". ") or len(coin_id) > _NAME_LENGTH:
        raise errors.NotFound(f"{errors.plain(coin_id)!r} is no coin id")
    return quote(coin_id, safe="", errors="replace")


def checked_url(url: str) -> str:
    """Return a base URL without a trailing slash. Raises AccessRefused if it is malformed."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(httpx.URL(url).host)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable or parts.query or parts.fragment:
        raise errors.AccessRefused("COINGECKO_BASE_URL is no http or https address")
    return url.rstrip("/")


def checked_key(key: str) -> str:
    """Return an API key without surrounding space. Raises AccessRefused if it is malformed."""
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise errors.AccessRefused("COINGECKO_API_KEY has characters that no key has")
    return key


def user_agent() -> str:
    """Return the User-Agent header. Without one, the CDN may answer 403."""
    try:
        return f"coingraph/{version('coingraph')} (self-hosted price API)"
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "coingraph (self-hosted price API)"
