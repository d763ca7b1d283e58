"""Normalises the path under which a proxy publishes the server."""

import re

_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_LONGEST = 200  # characters


def normal_root_path(text: str) -> str:
    """Normalise a prefix: a slash at its start, none at its end; "" for no prefix.

    Only letters, digits and `._~-` are allowed, because the prefix is written into pages and into
    Location. Raises ValueError with one sentence.
    """
    path = text.rstrip("/")
    if path and not path.startswith("/"):
        path = f"/{path}"
    if path and (len(path) > _LONGEST or not _PREFIX.fullmatch(path)):
        raise ValueError(f"{text[:60]!r} is no path; write it like /coingraph")
    return path
