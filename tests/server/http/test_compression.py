"""Content codings with real clients, also those that name zstd but cannot decode it."""

import json
import shutil
import subprocess

import httpx
import pytest

from tests.serving import Reader

QUERY = "{ __schema { types { name description fields { name description } } } }"
FILE = "/graphiql/graphiql.js"
BROWSER = "gzip, deflate, br, zstd"
# Sends as a browser does, and as tools do that take a browser's headers over; prints what came.
SCRIPT = """
const [url, query, file] = process.argv.slice(1);
const seen = [];
for (const accepted of [undefined, "gzip, deflate, br, zstd", "*", "zstd, *;q=0.9", "br"]) {
  const headers = { "content-type": "application/json", accept: "application/json" };
  if (accepted) headers["accept-encoding"] = accepted;
  if (accepted?.startsWith("zstd") && !process.versions.zstd) continue; // it asks for it by weight
  const answer = await fetch(url + "/graphql", {
    method: "POST", headers, body: JSON.stringify({ query }),
  });
  const text = await (await fetch(url + file, { headers })).text();
  seen.push([(await answer.json()).data.__schema.types.length, text.length]);
}
console.log(JSON.stringify(seen));
"""


def nodes() -> list[str]:
    """All installed versions of Node: of the tests and of the system."""
    found = {shutil.which("node"), shutil.which("node", path="/usr/bin")}
    return sorted(path for path in found if path is not None)


@pytest.mark.processes
@pytest.mark.parametrize("program", nodes() or [None], ids=str)
async def test_fetch_of_node_decodes_every_response(reader: Reader, program: str | None) -> None:
    if program is None:
        pytest.skip("no Node: `make test` installs one")
    done = subprocess.run(  # noqa: ASYNC221 - the server has a thread of its own
        [program, "--input-type=module", "-e", SCRIPT, "--", reader.url, QUERY, FILE],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    types = len((await reader.data(QUERY))["__schema"]["types"])
    size = len((await reader.http.get(FILE)).text)
    seen = json.loads(done.stdout)
    assert len(seen) >= 4
    assert all(each == [types, size] for each in seen), seen


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
async def test_curl_decodes_every_response(reader: Reader) -> None:
    for path in (f"/graphql?{httpx.QueryParams({'query': QUERY})}", FILE):
        done = subprocess.run(  # noqa: ASYNC221 - the server has a thread of its own
            ["curl", "--compressed", "--silent", "--fail", reader.url + path],  # noqa: S607 - the one in PATH
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        plain = await reader.http.get(path, headers={"Accept-Encoding": "identity"})
        assert done.stdout == plain.content


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (BROWSER, "br"), ("*", "gzip"), ("zstd", "zstd"), ("gzip;q=0.9, zstd", "zstd"),
        ("gzip, br;q=0.5", "gzip"), ("identity", None), ("br;q=0, zstd;q=0", None), ("", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/graphql", FILE])
async def test_page_and_files_follow_the_weights(
    reader: Reader, path: str, accepted: str, coding: str | None
) -> None:
    headers = {"Accept": "text/html, */*;q=0.1", "Accept-Encoding": accepted}
    plain = await reader.http.get(path, headers=headers | {"Accept-Encoding": "identity"})
    answer = await reader.http.get(path, headers=headers)
    assert answer.headers.get("content-encoding") == coding
    assert answer.content == plain.content
    for each in (plain, answer):
        varies = [name.strip().lower() for name in each.headers["vary"].split(",")]
        assert varies.count("accept-encoding") == 1


async def test_a_strong_etag_is_valid_for_one_coding(reader: Reader) -> None:
    plain = await reader.http.get(FILE, headers={"Accept-Encoding": "identity"})
    assert plain.headers["etag"].startswith('"')
    for coding in ("br", "gzip", "zstd"):
        coded = await reader.http.get(FILE, headers={"Accept-Encoding": coding})
        assert coded.headers["etag"] == f"W/{plain.headers['etag']}"
        for known in (coded.headers["etag"], plain.headers["etag"]):
            again = await reader.http.get(
                FILE, headers={"Accept-Encoding": coding, "If-None-Match": known}
            )
            assert (again.status_code, again.content) == (304, b"")
            assert "Accept-Encoding" in again.headers["vary"]
