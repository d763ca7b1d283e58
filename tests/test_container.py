"""What the image and the compose file promise, and the scripts they run, without Docker."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
REFRESH = ROOT / "deploy" / "refresh.sh"
HEALTHCHECK = ROOT / "deploy" / "healthcheck.py"
SETTINGS = {name.upper() for name in Settings.model_fields}
TOKEN = "not-a-real-token"  # noqa: S105 - the stub takes any
STARTED = '{"data":{"refreshPrices":{"started":true,"run":{"id":"1","status":"RUNNING"}}}}'
REFUSED = '{"errors":[{"message":"The token is not valid."}],"data":null}'


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def last_stage() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, rest in instructions():
        found = {} if name == "FROM" else found
        found.setdefault(name, []).append(rest)
    return found


def compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def test_the_last_stage_runs_as_nobody_special_and_builds_nothing() -> None:
    images = [rest for name, rest in instructions() if name == "FROM"]
    assert images == [
        "python:${PYTHON_VERSION}-slim-bookworm AS build",
        "python:${PYTHON_VERSION}-slim-bookworm",
    ]
    stage = last_stage()
    assert stage["USER"] == ["10001:10001"]
    assert not re.search(r"\b(pip|apt-get|gcc|curl)\b", " ".join(stage["RUN"]))
    assert stage["STOPSIGNAL"] == ["SIGTERM"]
    assert json.loads(stage["ENTRYPOINT"][0]) == ["coingraph"]
    assert json.loads(stage["CMD"][0]) == ["serve", "--host", "0.0.0.0"]  # noqa: S104 - in a container
    check = json.loads(stage["HEALTHCHECK"][0].partition("CMD ")[2])
    assert check == ["/app/.venv/bin/python", "-I", "/app/deploy/healthcheck.py"]
    names = set(re.findall(r"(\w+)=", stage["ENV"][0])) - {"PATH"}
    assert {name for name in names if not name.startswith("PYTHON")} == {"LOG_FORMAT", "DATA_DIR"}


def test_the_image_has_all_packages_and_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copies = [rest.split() for name, rest in instructions() if name == "COPY"]
    sources = {source for *some, _ in copies[:-1] for source in some}
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= sources
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sources == set(allowed)
    assert all((ROOT / source).exists() for source in sources)
    assert f"VERSION={project['project']['version']}" in last_stage()["ARG"]
    assert any("--require-hashes" in rest for name, rest in instructions() if name == "RUN")


def test_compose_hands_on_every_setting_and_nothing_else() -> None:
    fixed_by_the_image = {"DATA_DIR", "HOST", "PORT", "LOG_FORMAT"}
    assert fixed_by_the_image <= SETTINGS
    assert set(compose()["api"]["environment"]) == SETTINGS - fixed_by_the_image


def test_compose_refuses_to_start_without_secrets_and_contains_none() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("POSTGRES_PASSWORD", "REFRESH_TOKENS"):
        uses = re.findall(r"\$\{" + name + r"[^}]*\}", text)
        assert uses
        assert all(f"{name}:?set {name} in .env" in use for use in uses)
    assert compose()["db"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_compose_closes_what_need_not_be_open() -> None:
    services = compose()
    for name in ("api", "scheduler"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
    for service in services.values():
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert [name for name, service in services.items() if "ports" in service] == ["api"]
    assert services["api"]["ports"] == ["${COINGRAPH_LISTEN:-127.0.0.1:8000}:8000"]
    assert services["db"]["volumes"] == ["database:/var/lib/postgresql"]
    assert services["api"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert services["scheduler"]["depends_on"] == {"api": {"condition": "service_healthy"}}
    assert REFRESH.stat().st_mode & stat.S_IROTH, "the image's own user reads it"


class Stub(ThreadingHTTPServer):
    """Gives the `answers` one after the other, the last one for good."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, str]] = [(200, STARTED)]
        self.asked: list[tuple[str | None, dict[str, Any]]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.headers["Authorization"], json.loads(body)))
        self.do_GET()

    def do_GET(self) -> None:
        answers = self.server.answers
        status, text = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def environment(server: Stub, **more: str) -> dict[str, str]:
    if not shutil.which("curl"):
        if os.environ.get("CI"):
            pytest.fail("no curl, and CI must have one")
        pytest.skip("no curl: install the package curl")
    url = f"http://127.0.0.1:{server.server_port}/graphql"
    given = {"COINGRAPH_URL": url, "REFRESH_TOKEN": TOKEN, "REFRESH_RETRIES": "0"} | more
    return {"PATH": os.environ["PATH"]} | given


def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def refresh(server: Stub, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return run([str(REFRESH), *arguments], environment(server, **more))


def test_refresh_asks_once_in_an_interval_and_prints_the_run(stub: Stub) -> None:
    for _ in range(2):
        ran = refresh(stub, REFRESH_INTERVAL_SECONDS="1000000000")
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, STARTED + "\n", "")
    authorization, body = stub.asked[0]
    assert authorization == f"Bearer {TOKEN}"
    assert re.fullmatch(r"every-1000000000-\d+", body["variables"]["key"])
    assert "refreshPrices(input: { idempotencyKey: $key, onlyDue: true })" in body["query"]
    assert stub.asked[1] == stub.asked[0]


@pytest.mark.parametrize(
    ("status", "text"), [(401, REFUSED), (200, REFUSED), (500, "oops"), (200, "<html>"), (302, "")]
)
def test_refresh_fails_with_what_the_server_says(stub: Stub, status: int, text: str) -> None:
    stub.answers = [(status, text)]
    ran = refresh(stub)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"HTTP {status}" in ran.stderr
    assert text in ran.stderr
    assert TOKEN not in ran.stderr


def test_refresh_tries_again_while_the_server_starts(stub: Stub) -> None:
    stub.answers = [(503, REFUSED), (200, STARTED)]
    ran = refresh(stub, REFRESH_RETRIES="1")
    assert (ran.returncode, ran.stdout) == (0, STARTED + "\n")


def test_refresh_fails_where_nobody_listens(stub: Stub) -> None:
    ran = refresh(stub, COINGRAPH_URL="http://127.0.0.1:1/graphql")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "no answer from http://127.0.0.1:1/graphql" in ran.stderr


def test_refresh_takes_the_first_token_of_a_file_and_shows_it_nobody(
    stub: Stub, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("first , second\n")
    arguments = tmp_path / "arguments"
    spy = tmp_path / "curl"
    spy.write_text(f'#!/bin/sh\necho "$@" >{arguments}\nexec {shutil.which("curl")} "$@"\n')
    spy.chmod(0o700)
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = refresh(stub, REFRESH_TOKEN="", REFRESH_TOKEN_FILE=str(tmp_path / "token"), PATH=path)
    assert ran.returncode == 0
    assert stub.asked[0][0] == "Bearer first"
    assert "first" not in arguments.read_text()


@pytest.mark.parametrize(
    "wrong", ["TOKEN= ", "TOKEN_FILE=/nowhere", "INTERVAL_SECONDS=0", "INTERVAL_SECONDS=1h"]
)
def test_refresh_tells_misuse_apart(stub: Stub, wrong: str) -> None:
    name, _, value = wrong.partition("=")
    ran = refresh(stub, **{f"REFRESH_{name}": value})
    assert ran.returncode == 2
    assert "refresh: " in ran.stderr
    assert stub.asked == []
    assert refresh(stub, "now").returncode == 2


def test_refresh_repeats_until_told_to_stop(stub: Stub, tmp_path: Path) -> None:
    stub.answers = [(401, REFUSED), (200, STARTED)]
    env = environment(stub, REFRESH_INTERVAL_SECONDS="1", TMPDIR=str(tmp_path))
    with subprocess.Popen([str(REFRESH), "loop"], env=env, stderr=subprocess.PIPE) as loop:
        deadline = time.monotonic() + 60
        while len(stub.asked) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        loop.send_signal(signal.SIGTERM)
        assert loop.wait(60) == 143
    assert len(stub.asked) >= 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1), (None, 1)])
def test_the_healthcheck_judges_by_the_status(stub: Stub, status: int | None, code: int) -> None:
    stub.answers = [(status or 0, "{}")]
    env = {"PORT": str(stub.server_port) if status else "1", "http_proxy": "http://127.0.0.1:1"}
    ran = run([sys.executable, "-I", str(HEALTHCHECK)], env)
    assert ran.returncode == code
    assert str(status or "no answer") in ran.stdout + ran.stderr
