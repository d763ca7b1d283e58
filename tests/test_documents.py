"""Links, files and tests that documents name exist; each decision has its header and its line."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Without git: the tests also run from an archive.
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "web/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
# A path from the root, as documents write it; examples have NAME or NNNN in them.
_PATH = re.compile(r"`((?:[a-z_]+/)+(?:[a-z_0-9]+\.(?:py|sh|yml))?)`")
_TEST = re.compile(r"`(test_[a-z_0-9]+)`")


def anchors_of(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE
    )
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", each).strip().lower() for each in headings)
    return {re.sub(r"[^\w\- ]", "", each).replace(" ", "-") for each in plain}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_lead_somewhere(path: str) -> None:
    document = ROOT / path
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target.read_text()), link


@pytest.mark.parametrize(
    "path", ["CONTRIBUTING.md", "docs/architecture.md", "docs/dependencies.md"]
)
def test_files_and_tests_exist(path: str) -> None:
    text = (ROOT / path).read_text()
    named = _PATH.findall(text)
    assert named
    assert [each for each in named if not (ROOT / each).exists()] == []
    tests = "".join(each.read_text() for each in (ROOT / "tests").rglob("test_*.py"))
    assert [each for each in _TEST.findall(text) if f"def {each}(" not in tests] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name)
def test_a_decision_has_its_header_and_its_line(page: Path) -> None:
    header = re.match(
        r"# (\d{4})\. .+\n\n- Status: (?:accepted|superseded by)[^\n]*\n(?:  [^\n]*\n)?"
        r"- Date: \d{4}-\d\d-\d\d",
        page.read_text(),
    )
    assert header is not None
    assert page.name.startswith(header[1])
    index = (page.parent / "README.md").read_text()
    assert index.count(f"\n| [{header[1]}]({page.name}) |") == 1
