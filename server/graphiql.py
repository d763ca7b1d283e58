"""GraphiQL, the page for trying out queries, from our own files: it works without a network."""

import hashlib
import json
from collections.abc import Iterator
from functools import cache, lru_cache
from html import escape
from os import PathLike, stat_result
from pathlib import Path
from string import Template
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from server.browsers import CONTENT_SECURITY_POLICY

GRAPHIQL_DIR = Path(__file__).resolve().parent.parent / "web"
GRAPHIQL_PATH = "/graphiql"

ICON = "favicon.svg"
LICENSES = tuple(f"graphiql/LICENSE-{name}" for name in ("graphiql", "graphiql-explorer", "react"))
STYLES = ("graphiql/graphiql.min.css", "graphiql/plugin-explorer.css", "graphiql.css")
SCRIPTS = (  # in this order: each needs the ones before it
    "graphiql/react.production.min.js",
    "graphiql/react-dom.production.min.js",
    "graphiql/graphiql.min.js",
    "graphiql/plugin-explorer.umd.js",
    "graphiql.js",
)

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>coingraph</title>
<link rel="icon" href="$icon" type="image/svg+xml">
$styles
</head>
<body>
<div id="graphiql"><p class="message">Loading GraphiQL …</p></div>
<noscript><p class="message">GraphiQL needs JavaScript. The API itself answers POST requests.</p>
</noscript>
<script id="config" type="application/json">$config</script>
$scripts
</body>
</html>
""")


@cache
def _version(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _tabs(folder: str) -> Iterator[dict[str, str]]:
    for path in sorted((GRAPHIQL_DIR / folder).glob("*.graphql")):
        tab = {"query": path.read_text(encoding="utf-8")}
        headers = path.with_suffix(".headers.json")
        if headers.exists():
            tab["headers"] = headers.read_text(encoding="utf-8")
        yield tab


@lru_cache(maxsize=64)  # prefixes are a proxy's to choose
def _html(endpoint: str, mount: str, folder: str) -> str:
    def url(name: str) -> str:
        return escape(f"{mount}/{name}?v={_version(GRAPHIQL_DIR / name)}")

    config = json.dumps({"endpoint": endpoint, "tabs": list(_tabs(folder))})
    return PAGE.substitute(
        icon=url(ICON),
        styles="\n".join(f'<link rel="stylesheet" href="{url(name)}">' for name in STYLES),
        scripts="\n".join(f'<script src="{url(name)}"></script>' for name in SCRIPTS),
        config=config.replace("<", r"\u003c"),  # so that no query can end the element
    )


def graphiql_page(
    *, endpoint: str = "/graphql", mount: str = GRAPHIQL_PATH, examples: bool = True
) -> HTMLResponse:
    """The page. `mount` is where `graphiql_files()` are served.

    Both may carry a proxy's prefix, or be relative to the page's address.

    Without `examples`, which tell what there is in the schema, it names nothing of it.
    """
    return HTMLResponse(
        _html(endpoint, mount, "examples" if examples else "closed"),
        headers={
            "Cache-Control": "no-cache",  # it names its files by version
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Vary": "Accept",  # JSON is at the same address
        },
    )


class _VersionedFiles(StaticFiles):
    """Files that may be kept for good, where they are asked for by the version they are in.

    No others of the same folder: the examples tell of the schema.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        if Path(path).as_posix() not in {ICON, *STYLES, *SCRIPTS, *LICENSES}:
            raise HTTPException(404)
        return await super().get_response(path, scope)

    def file_response(
        self,
        full_path: str | PathLike[str],
        stat_result: stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("v")
        # Compared, not only looked for: while servers are being replaced, an old one is asked for
        # new versions, and what it answers must not stay in any cache.
        current = asked == [_version(Path(full_path))]
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if current else "no-cache"
        )
        return response


def graphiql_files() -> StaticFiles:
    """What the page loads, to be mounted at GRAPHIQL_PATH."""
    return _VersionedFiles(directory=GRAPHIQL_DIR)
