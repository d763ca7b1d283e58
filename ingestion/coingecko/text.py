"""Converts CoinGecko's HTML descriptions to plain text and selects usable URLs."""

import html
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import nh3

from ingestion.coingecko.errors import plain

_DESCRIPTION_LIMIT, _HTML_LIMIT, _URL_LIMIT = 20_000, 100_000, 2_000
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_BLOCK_TAG = re.compile(r"</?(?:p|br|div|li|ul|ol|h[1-6])\b[^<>]*>", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n{3,}")


def plain_description(value: object) -> str | None:
    """Convert HTML to plain text with its paragraphs; None if nothing is left.

    White space within a line is collapsed. The result has at most 20,000 characters.
    """
    if not isinstance(value, str):
        return None
    marked_up = _BLOCK_TAG.sub("\n", _UNPRINTABLE.sub("", value[:_HTML_LIMIT]))
    text = _UNPRINTABLE.sub("", html.unescape(nh3.clean(marked_up, tags=set())))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()[:_DESCRIPTION_LIMIT] or None


def first_url(values: Iterable[object]) -> str | None:
    """Return the first value that is a valid http or https URL; None without one."""
    for value in values:
        if not isinstance(value, str) or not 0 < len(value) <= _URL_LIMIT:
            continue
        url = value.strip()
        try:
            parts = urlsplit(url)
        except ValueError:
            continue
        clean = " " not in url and plain(url, _URL_LIMIT) == url
        if clean and parts.scheme in {"http", "https"} and parts.hostname:
            return url
    return None
