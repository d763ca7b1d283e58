"""The schedulers of `deploy/`: their files are valid and start a refresh."""

import configparser
import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.serving import TOKEN, LiveServer

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
INSTALLED = "/opt/coingraph/deploy"  # as the examples have it
_numbers = itertools.count()
URLS = r"http://[\w.]+:8000/graphql"


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A file with the token, surrounded by whitespace."""
    path = tmp_path / "refresh-token"
    path.write_text(f"{TOKEN}\n")
    return path


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        if program == "curl" and os.environ.get("CI"):
            pytest.fail("no curl, and CI must have one")
        pytest.skip(f"{program} is not installed")
    return found


def run(
    command: list[str], environment: dict[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"]} | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def started(ran: subprocess.CompletedProcess[str]) -> str:
    """Return the run's id that the script printed."""
    assert ran.returncode == 0, ran.stderr
    return str(json.loads(ran.stdout)["data"]["refreshPrices"]["run"]["id"])


def trigger_of(server: LiveServer, run_id: str) -> str:
    query = f'{{ refreshRun(id: "{run_id}") {{ trigger }} }}'
    answer = httpx.post(f"{server.url}/graphql", json={"query": query}, timeout=120)
    return str(answer.json()["data"]["refreshRun"]["trigger"])


def runs_twice(
    server: LiveServer, command: list[str], environment: dict[str, str], cwd: Path
) -> None:
    """Check that two calls within an hour, as after a retry, give one refresh."""
    need("curl")
    # the test may run across an hour; and a key of its own for each example
    environment["REFRESH_INTERVAL_SECONDS"] = str(1_000_000_000 + next(_numbers))
    first, second = (started(run(command, environment, cwd)) for _ in range(2))
    assert first == second
    assert trigger_of(server, first) in {"MUTATION", "STARTUP"}  # STARTUP where that was joined


@pytest.mark.processes
def test_cron(scheduled_server: LiveServer, token: Path, tmp_path: Path) -> None:
    lines = [
        line
        for line in (DEPLOY / "cron/coingraph").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    environment = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    (job,) = [line for line in lines if not re.match(r"[A-Z_]+=", line)]
    *times, user, command = job.split(None, 6)
    assert len(times) == 5
    assert all(re.fullmatch(r"\*|[0-9]+", each) for each in times)
    assert user == "coingraph"
    assert "%" not in command, "which cron makes a line break of"
    assert re.fullmatch(URLS, environment["COINGRAPH_URL"])
    assert environment["REFRESH_INTERVAL_SECONDS"] == "3600", "as often as the times say"
    assert "TOKEN" not in command

    environment |= {
        "COINGRAPH_URL": f"{scheduled_server.url}/graphql",
        "REFRESH_TOKEN_FILE": str(token),
    }
    script, rest = command.split(maxsplit=1)
    assert script == f"{INSTALLED}/refresh.sh"
    shown = shlex.quote(str(DEPLOY / "refresh.sh"))
    runs_twice(scheduled_server, [environment.pop("SHELL"), "-c", shown], environment, tmp_path)
    ran = run(["/bin/sh", "-c", f"{shown} {rest}"], environment, tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", ""), "no mail for what is well"
    token.unlink()
    assert run(["/bin/sh", "-c", f"{shown} {rest}"], environment, tmp_path).stderr


class Unit(configparser.RawConfigParser):
    """A systemd unit: names are case-sensitive, and some come more than once."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, comment_prefixes=("#",), interpolation=None)
        self.optionxform = str  # type: ignore[assignment] # the way its documentation has it
        self.read_string(path.read_text())
        self.environment = dict(
            re.findall(r"^Environment=(\w+)=(.*)$", path.read_text(), re.MULTILINE)
        )


@pytest.mark.processes
def test_systemd(scheduled_server: LiveServer, token: Path, tmp_path: Path) -> None:
    service = Unit(DEPLOY / "systemd/coingraph-refresh.service")
    timer = Unit(DEPLOY / "systemd/coingraph-refresh.timer")
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["DynamicUser"] == "yes"
    name, _, source = service["Service"]["LoadCredential"].partition(":")
    assert Path(source).is_absolute()
    assert service.environment["REFRESH_TOKEN_FILE"] == f"%d/{name}"
    assert service.environment["REFRESH_INTERVAL_SECONDS"] == "3600"
    assert timer["Timer"]["OnCalendar"] == "*-*-* *:07:00"
    assert timer["Timer"]["Persistent"] == "yes"
    assert "Unit" not in timer["Timer"], "it starts the service of its own name"
    assert service["Service"]["RestartPreventExitStatus"] == "2"

    command = service["Service"]["ExecStart"].replace(INSTALLED, str(DEPLOY))
    (tmp_path / "credentials").mkdir()
    token.rename(tmp_path / "credentials" / name)
    environment = {
        key: value.replace("%d", str(tmp_path / "credentials"))
        for key, value in service.environment.items()
    } | {"COINGRAPH_URL": f"{scheduled_server.url}/graphql"}
    runs_twice(scheduled_server, shlex.split(command), environment, tmp_path)


@pytest.mark.processes
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    analyze = need("systemd-analyze")
    units = []
    for path in sorted((DEPLOY / "systemd").iterdir()):
        unit = tmp_path / path.name
        unit.write_text(path.read_text().replace(INSTALLED, str(DEPLOY)))
        units.append(str(unit))
    assert len(units) == 2
    ran = run([analyze, "verify", "--man=no", *units], {})
    ours = [line for line in ran.stderr.splitlines() if "coingraph" in line]
    if not ours and ran.returncode:
        pytest.skip(f"systemd-analyze cannot verify here: {ran.stderr.splitlines()[:1]}")
    assert ours == []


def mounted(
    container: dict[str, Any], pod: dict[str, Any], files: dict[str, Path]
) -> dict[str, Path]:
    """Return the paths of files in the container; `files` are those of each volume's source."""
    sources = {volume["name"]: volume for volume in pod["volumes"]}
    found = {}
    for mount in container["volumeMounts"]:
        volume = sources[mount["name"]]
        for kind, key in (("configMap", "name"), ("secret", "secretName")):
            if kind in volume:
                path = files[f"{kind}/{volume[kind][key]}"]
                found[f"{mount['mountPath']}/{path.name}"] = path
    return found


@pytest.mark.processes
def test_kubernetes(scheduled_server: LiveServer, token: Path, tmp_path: Path) -> None:
    job = yaml.safe_load((DEPLOY / "kubernetes/cronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert 0 < job["spec"]["startingDeadlineSeconds"] < 3600
    work = job["spec"]["jobTemplate"]["spec"]
    assert 150 * (work["backoffLimit"] + 1) <= work["activeDeadlineSeconds"] < 3600, "all retries"
    pod = work["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    compose = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())
    image = re.sub(r"\$\{\w+:-(.+)\}", r"\1", compose["services"]["scheduler"]["image"])
    assert container["image"] == image
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert "REFRESH_TOKEN" not in environment, "`kubectl describe` shows it"
    assert {m["mountPath"] for m in container["volumeMounts"]} >= {"/tmp"}, "mktemp's"  # noqa: S108

    kustomization = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    assert kustomization["resources"] == ["kubernetes/cronjob.yaml"]
    (scripts,), (secrets,) = kustomization["configMapGenerator"], kustomization["secretGenerator"]
    files = {
        f"configMap/{scripts['name']}": DEPLOY / scripts["files"][0],
        f"secret/{secrets['name']}": token,
    }
    assert secrets["files"] == [f"{token.name}=kubernetes/refresh-token"]
    found = mounted(container, pod, files)
    command = [str(found.get(word, word)) for word in container["command"]]
    assert str(DEPLOY / "refresh.sh") in command
    environment = {name: str(found.get(value, value)) for name, value in environment.items()}
    assert environment["REFRESH_TOKEN_FILE"] == str(token)
    assert re.fullmatch(URLS, environment["COINGRAPH_URL"])
    environment["COINGRAPH_URL"] = f"{scheduled_server.url}/graphql"
    runs_twice(scheduled_server, command, environment, tmp_path)


@pytest.mark.processes
def test_kustomize_itself_makes_it(tmp_path: Path) -> None:
    kubectl = need("kubectl")
    for path in ("kustomization.yaml", "refresh.sh", "kubernetes/cronjob.yaml"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(DEPLOY / path, tmp_path / path)
    (tmp_path / "kubernetes/refresh-token").write_text("secret")
    ran = run([kubectl, "kustomize", str(tmp_path)], {"HOME": str(tmp_path)})
    assert ran.returncode == 0, ran.stderr
    made = {each["kind"]: each for each in yaml.safe_load_all(ran.stdout)}
    assert set(made) == {"ConfigMap", "Secret", "CronJob"}
    assert made["ConfigMap"]["data"] == {"refresh.sh": (DEPLOY / "refresh.sh").read_text()}
    assert made["Secret"]["data"] == {"refresh-token": "c2VjcmV0"}
    assert {made["ConfigMap"]["metadata"]["name"], made["Secret"]["metadata"]["name"]} == {
        "coingraph-refresh"
    }


def test_the_tokens_file_is_not_committed() -> None:
    assert "deploy/kubernetes/refresh-token" in (DEPLOY.parent / ".gitignore").read_text()


@pytest.mark.parametrize("path", sorted(str(p.relative_to(DEPLOY)) for p in DEPLOY.rglob("*.*")))
def test_no_example_has_a_token_in_it(path: str) -> None:
    with contextlib.suppress(UnicodeDecodeError):
        text = (DEPLOY / path).read_text()
        assert not re.search(r"Bearer (?!%s|\{\{resolve:)\S", text), path
