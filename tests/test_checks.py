"""pre-commit's hooks run the same tools as `make check`."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_hooks_are_those_of_make_check() -> None:
    [recipe] = re.findall(
        r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    by_make = [
        line.strip().removeprefix("$(BIN)/").removesuffix(" .") for line in recipe.split("\n")
    ]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    by_hook = [
        hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude") for hook in hooks
    ]
    assert by_hook == [command for command in by_make if command]


def test_every_target_is_documented() -> None:
    text = (ROOT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    documented = re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)
    assert sorted(documented) == sorted(phony.replace("\\", " ").split())
