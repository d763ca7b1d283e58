"""The path under which a proxy publishes the server, by ROOT_PATH or X-Forwarded-Prefix."""

import re

_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_LONGEST = 200  # characters


def normal_root_path(text: str) -> str:
    """Write a prefix with a slash at its start and none at its end; "" where there is none.

    Raises ValueError with one sentence. Only letters, digits and `._~-` pass: the prefix gets into
    pages and into Location.
    """
    path = text.rstrip("/")
    if path and not path.startswith("/"):
        path = f"/{path}"
    if path and (len(path) > _LONGEST or not _PREFIX.fullmatch(path)):
        raise ValueError(f"{text[:60]!r} is no path; write such as /coingraph")
    return path
