"""GraphiQL, the query editor, from local files: it loads nothing from other hosts."""

import json
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from pathlib import Path
from string import Template

from server.graphql.admission import Admission
from server.http.security_headers import CONTENT_SECURITY_POLICY
from server.pages.static_files import StaticBody, StaticFiles, version_of

GRAPHIQL_DIR = Path(__file__).resolve().parents[2] / "web"
GRAPHIQL_PATH = "/graphiql"

ICON = "favicon.svg"
LICENSES = tuple(f"graphiql/LICENSE-{name}" for name in ("graphiql", "graphiql-explorer", "react"))
STYLES = ("graphiql/graphiql.min.css", "graphiql/plugin-explorer.css", "graphiql.css")
SCRIPTS = (  # in order of dependency
    "graphiql/react.production.min.js",
    "graphiql/react-dom.production.min.js",
    "graphiql/graphiql.min.js",
    "graphiql/plugin-explorer.umd.js",
    "graphiql.js",
)

PAGE_HEADERS = {
    b"content-type": b"text/html; charset=utf-8",
    b"cache-control": b"no-cache",  # its links contain file versions
    b"content-security-policy": CONTENT_SECURITY_POLICY.encode(),
    b"vary": b"Accept, Accept-Encoding",  # the same URL serves JSON
}
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


def _tabs(folder: str) -> Iterator[dict[str, str]]:
    for path in sorted((GRAPHIQL_DIR / folder).glob("*.graphql")):
        tab = {"query": path.read_text(encoding="utf-8")}
        headers = path.with_suffix(".headers.json")
        if headers.exists():
            tab["headers"] = headers.read_text(encoding="utf-8")
        yield tab


@lru_cache(maxsize=64)  # bounded: the prefix comes from a proxy
def graphiql_page(
    endpoint: str = "/graphql", mount: str = GRAPHIQL_PATH, *, examples: bool = True
) -> StaticBody:
    """Return the page, to be sent with PAGE_HEADERS.

    `endpoint`: the path of the API. `mount`: the path of `graphiql_files`. Both may have a proxy's
    prefix or be relative to the page. Without `examples`, the page reveals nothing of the schema.
    """

    def url(name: str) -> str:
        return escape(f"{mount}/{name}?v={version_of(GRAPHIQL_DIR / name)}")

    tabs = list(_tabs("examples" if examples else "closed"))
    config = json.dumps({"endpoint": endpoint, "tabs": tabs})
    page = PAGE.substitute(
        icon=url(ICON),
        styles="\n".join(f'<link rel="stylesheet" href="{url(name)}">' for name in STYLES),
        scripts="\n".join(f'<script src="{url(name)}"></script>' for name in SCRIPTS),
        config=config.replace("<", r"\u003c"),  # no query can close the element
    )
    return StaticBody(page.encode())


def graphiql_files(admission: Admission) -> StaticFiles:
    """Return the application that serves the files of the page, without the example queries."""
    return StaticFiles(GRAPHIQL_DIR, {ICON, *STYLES, *SCRIPTS, *LICENSES}, admission)
