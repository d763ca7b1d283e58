"""The versions and the machine that the measurements were taken with."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import orjson

from benchmarks import databases, load
from benchmarks.options import CONNECTIONS, Options
from benchmarks.peers import catalog

_PACKAGES = (
    "asyncpg", "fastapi", "graphql-core", "numpy", "orjson", "pydantic", "sqlalchemy", "sqlmodel",
    "starlette", "strawberry-graphql", "uvicorn", "uvloop",
)  # fmt: skip


def facts(options: Options, url: str) -> dict[str, str]:
    """Return the facts that a reader needs to judge the figures, by name."""
    [row] = databases.fetch(url, "SHOW server_version")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores ({_processor()}), {platform.system()}",
        "run": f"{options.rounds} rounds of {options.seconds:g} s for each server"
        + (", **quick: only to see that all works**" if options.quick else ""),
        "load": f"{load.generator()}, {CONNECTIONS} connections",
        "Python": platform.python_version(),
        "PostgreSQL": f"{row[0]}, embedded, over its socket",
        "PostGraphile": _postgraphile(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:  # noqa: PTH123 - not a file of ours
            names = [line.partition(":")[2].strip() for line in info if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _postgraphile() -> str:
    program = catalog.node()
    if program is None or (reason := catalog.missing(catalog.POSTGRAPHILE)) is not None:
        return f"not run: {reason if program else catalog.missing(catalog.POSTGRAPHILE)}"
    modules = catalog.POSTGRAPHILE_FOLDER / "node_modules"
    names = ("postgraphile", "grafast", "pg")
    versions = [
        f"{name} {orjson.loads((modules / name / 'package.json').read_bytes())['version']}"
        for name in names
    ]
    return f"{', '.join(versions)}; Node {catalog.version(program, '--version')}"
