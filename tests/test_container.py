"""The image, the compose file and their scripts, tested without Docker."""

import json
import os
import re
import shutil
import signal
import socket
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

from server.config.settings import Settings
from simulator import Simulator
from tests.server.postgres_processes import eventually
from tests.server.server_process import environment as server_environment

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


def command_of(stage: dict[str, list[str]]) -> list[str]:
    """Return the command of the image, run from this checkout."""
    program, *arguments = json.loads(stage["ENTRYPOINT"][0]) + json.loads(stage["CMD"][0])
    assert program in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    return [sys.executable, "-c", "from server.cli.main import main; main()", *arguments]


def healthcheck_of(stage: dict[str, list[str]]) -> list[str]:
    program, *arguments = json.loads(stage["HEALTHCHECK"][0].partition("CMD ")[2])
    assert program == "/app/.venv/bin/python"
    return [sys.executable, *(each.replace("/app", str(ROOT)) for each in arguments)]


@pytest.mark.processes
def test_what_the_image_runs_becomes_healthy_and_stops(
    shared_simulator: Simulator, tmp_path: Path
) -> None:
    """Its command in its environment passes its health check and stops by its signal."""
    stage = last_stage()
    given = dict(re.findall(r"(\w+)=(\S+)", " ".join(stage["ENV"]))) | {"PATH": os.environ["PATH"]}
    assert {given["DATA_DIR"]} == set(stage["VOLUME"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    env = server_environment(
        given
        | {
            "DATA_DIR": str(tmp_path / "data"),
            "COINGECKO_BASE_URL": shared_simulator.base_url,
            "COINGECKO_REQUESTS_PER_MINUTE": "600000",
            "COINS": "bitcoin",
            "CURRENCIES": "usd",
            "HISTORY_DAYS": "3",
            "PORT": port,
            "REFRESH_TOKENS": TOKEN,
        }
    )
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command_of(stage), cwd=tmp_path, env=env, stderr=stderr) as server,
    ):
        try:
            eventually(lambda: run(healthcheck_of(stage), {"PORT": port}).returncode == 0, 120)
            assert server.poll() is None
            server.send_signal(signal.Signals[stage["STOPSIGNAL"][0]])
            assert server.wait(60) == 0
        finally:
            server.kill()
    lines = [json.loads(line) for line in log.read_text().splitlines()]  # as LOG_FORMAT says
    assert "serving" in {line["event"] for line in lines}


def test_the_image_can_be_run_without_root_and_holds_no_compiler() -> None:
    """Kubernetes' runAsNonRoot accepts only numbers. Build tools are not in the image."""
    stage = last_stage()
    [account] = stage["USER"]
    assert all(int(number) > 0 for number in account.split(":"))
    assert not re.search(r"\b(pip|apt-get|gcc|curl)\b", " ".join(stage["RUN"]))
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert len(bases) == 2, "else the last stage may be the one that builds"
    assert len(set(bases)) == 1, "or compiled packages may not fit"


def environment_of_the_image() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(last_stage()["ENV"])))


def test_the_user_of_the_image_may_write_to_mounts() -> None:
    """A tmpfs has the mode of the folder below it, but not its owner."""
    stage = last_stage()
    home, data = (Path(environment_of_the_image()[name]) for name in ("HOME", "DATA_DIR"))
    assert f"--home-dir {home}" in stage["RUN"][0]
    assert f"install --directory --mode=0755 {home}" in stage["RUN"][0]
    assert stage["VOLUME"] == [str(data)]
    assert not home.is_relative_to(data)
    assert not data.is_relative_to(home)
    api = compose()["api"]
    mounts = {place: options.split(",") for place, _, options in
              (each.partition(":") for each in api["tmpfs"])}  # fmt: skip
    assert "volumes" not in api
    assert not any(home.is_relative_to(place) for place in mounts)
    options = dict(each.split("=") for each in mounts[str(data)])
    assert options.keys() <= {"size", "mode"}, "podman knows no others"
    assert int(options["mode"], 8) & 0o7 == 0o7, "the image's user is not its owner"
    assert {"HOME", "HOST", "PORT", "DATA_DIR"}.isdisjoint(api["environment"])


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


def test_compose_passes_on_every_setting_and_nothing_else() -> None:
    fixed_by_the_image = {"DATA_DIR", "HOST", "PORT", "LOG_FORMAT"}
    assert fixed_by_the_image <= SETTINGS
    files = {name for name in SETTINGS if name.endswith("_FILE")}  # who sets them mounts them too
    assert set(compose()["api"]["environment"]) == SETTINGS - fixed_by_the_image - files


def test_compose_names_nothing_twice() -> None:
    """PyYAML takes the last of two; Docker refuses the file."""

    def check(node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            assert len(keys) == len(set(keys)), keys
        if isinstance(node, yaml.CollectionNode):
            for child in node.value:
                for each in child if isinstance(child, tuple) else (child,):
                    check(each)

    check(yaml.compose((ROOT / "docker-compose.yml").read_text(), yaml.SafeLoader))


def test_compose_refuses_to_start_without_secrets_and_contains_none() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("POSTGRES_PASSWORD", "REFRESH_TOKENS"):
        uses = re.findall(r"\$\{" + name + r"[^}]*\}", text)
        assert uses
        assert all(f"{name}:?set {name} in .env" in use for use in uses)
    assert compose()["db"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_compose_restricts_the_containers() -> None:
    services = compose()
    for name in ("api", "scheduler"):
        assert services[name]["read_only"] is True
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert [name for name, service in services.items() if "ports" in service] == ["api"]
    assert services["api"]["ports"] == ["${COINGRAPH_LISTEN:-127.0.0.1:8000}:8000"]
    assert services["db"]["volumes"] == ["database:/var/lib/postgresql"]
    assert services["api"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert services["scheduler"]["depends_on"] == {"api": {"condition": "service_healthy"}}
    assert REFRESH.stat().st_mode & stat.S_IROTH, "the image's own user reads it"
    assert services["db"]["user"] == "postgres", "as root, its entrypoint needs capabilities"


def test_each_image_can_be_pinned_by_digest() -> None:
    images = dict(
        re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", (ROOT / "docker-compose.yml").read_text())
    )
    assert set(images) == {"PYTHON_IMAGE", "POSTGRES_IMAGE", "CURL_IMAGE"}
    assert [rest.split()[0] for name, rest in instructions() if name == "FROM"] == [
        "${PYTHON_IMAGE}"
    ] * 2
    given = [rest for name, rest in instructions() if name == "ARG"]
    assert f"PYTHON_IMAGE={images['PYTHON_IMAGE']}" in given, "the same default in both files"


class Stub(ThreadingHTTPServer):
    """Sends the `answers` in order, then repeats the last one."""

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


@pytest.mark.processes
def test_refresh_sends_one_request_in_an_interval_and_prints_the_run(stub: Stub) -> None:
    for _ in range(2):
        ran = refresh(stub, REFRESH_INTERVAL_SECONDS="1000000000")
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, STARTED + "\n", "")
    authorization, body = stub.asked[0]
    assert authorization == f"Bearer {TOKEN}"
    assert re.fullmatch(r"every-1000000000-\d+", body["variables"]["key"])
    assert "refreshPrices(input: { idempotencyKey: $key, onlyDue: true })" in body["query"]
    assert stub.asked[1] == stub.asked[0]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("status", "text"), [(401, REFUSED), (200, REFUSED), (500, "oops"), (200, "<html>"), (302, "")]
)
def test_refresh_fails_with_the_error_of_the_server(stub: Stub, status: int, text: str) -> None:
    stub.answers = [(status, text)]
    ran = refresh(stub)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"HTTP {status}" in ran.stderr
    assert text in ran.stderr
    assert TOKEN not in ran.stderr


@pytest.mark.processes
def test_refresh_tries_again_while_the_server_starts(stub: Stub) -> None:
    stub.answers = [(503, REFUSED), (200, STARTED)]
    ran = refresh(stub, REFRESH_RETRIES="1")
    assert (ran.returncode, ran.stdout) == (0, STARTED + "\n")


@pytest.mark.processes
def test_refresh_fails_without_a_server(stub: Stub) -> None:
    ran = refresh(stub, COINGRAPH_URL="http://127.0.0.1:1/graphql")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "no answer from http://127.0.0.1:1/graphql" in ran.stderr


@pytest.mark.processes
def test_refresh_uses_the_first_token_of_a_file_and_never_prints_it(
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


@pytest.mark.processes
@pytest.mark.parametrize(
    "wrong", ["TOKEN= ", "TOKEN_FILE=/nowhere", "INTERVAL_SECONDS=0", "INTERVAL_SECONDS=1h"]
)
def test_refresh_reports_misuse(stub: Stub, wrong: str) -> None:
    name, _, value = wrong.partition("=")
    ran = refresh(stub, **{f"REFRESH_{name}": value})
    assert ran.returncode == 2
    assert "refresh: " in ran.stderr
    assert stub.asked == []
    assert refresh(stub, "now").returncode == 2


@pytest.mark.processes
def test_refresh_repeats_until_a_signal(stub: Stub, tmp_path: Path) -> None:
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


@pytest.mark.processes
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1), (None, 1)])
def test_the_health_check_follows_the_status(stub: Stub, status: int | None, code: int) -> None:
    stub.answers = [(status or 0, "{}")]
    env = {"PORT": str(stub.server_port) if status else "1", "http_proxy": "http://127.0.0.1:1"}
    ran = run([sys.executable, "-I", str(HEALTHCHECK)], env)
    assert ran.returncode == code
    assert str(status or "no response") in ran.stdout + ran.stderr
