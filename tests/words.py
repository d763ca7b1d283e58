"""Check that no file has words that puzzle: plain technical English has a precise one for each.

Usage: python -m tests.words [--count] [PATH ...]. Without paths, all tracked text files are read.
`--count` prints the number of findings for each top folder instead of each finding.

A quotation of others stays: put `words: quote` into a comment on its line. Names that clients rely
on are in `_CONTRACT`.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

_QUOTE = "words: quote"

# A part of an identifier counts too: `tell_series`, `_TELL`, but not `tellers`.
_WORDS = {
    "tell|tells|told|telling": "report, notify, return, state, know",
    r"untold\w*": "uncacheable",
    r"reckon\w*": "compute, estimate",
    "mend|mends|mended|mending": "repair, patch, correct",
    "anew": "again",
    "whoever": "name the subject",
    "holes?": "gap",
    "dear|dearer|dearest": "expensive, costliest",
    "beside": "next to, in addition to",
    "bear|bears": "tolerate, have",
    r"heed\w*|unheeded": "respect, follow, ignore",
    r"hasten\w*": "stop at once, speed up",
    "bury|buries|buried|burial|burying": "mark as interrupted",
    "eldest": "oldest",
    "midst": "during",
    r"breathe\w*": "yield to the event loop",
    "duties": "tasks",
    "tallies|tally": "counters",
    "outlook": "estimate",
    r"footprints?": "cache dependencies",
}
_PHRASES = {
    r"what of it": "name the subject",
    r"(?:without|for|asks?|asked for) a word": "ping, probe, notification",
    r"last word": "final message",
    r"\blet in\b": "admit, allow",
    r"\bgiven up\b": "cancelled, abandoned",
    r"\bwhat is there\b": "name it",
    r"\b(?:at most|for|not|with|takes?|has|have) so (?:long|many|much|often)\b": "name the limit",
    r"\bso (?:many|long|much|often) (?:answers?|processes|seconds|bytes|more)\b": "name the limit",
}
_CASED = {
    r"(?:^|[.:;!#|>*\-\"] )Who (?![^.?]*\?)": "name the subject: callers that ...",
    r"\bJournal\b|\bjournal\b": "recorder",
    r"\b[Cc]rowds\b": "connection limits",
    r"\bPatien\w+|\bpatience\b": "retry policy, cooperative, time limit",
    r"\bclass Kept\b|\bKept\(": "DataExtent",
}
# Names of outputs and other texts that clients or files rely on.
_CONTRACT = re.compile(r"""["`']dearest["`']|dearest: \{|\.dearest\b""")
_SKIPPED = (
    "web/graphiql/",
    "migrations/versions/",  # their SQL was released and stays
    "tests/words.py",
    "tests/test_words.py",
)
_SKIPPED_ENDS = (".lock", "package-lock.json", ".svg", ".png", ".ico", ".csv")


def _compiled() -> Sequence[tuple[re.Pattern[str], str]]:
    words = [
        (re.compile(rf"(?<![A-Za-z])(?:{word})(?![A-Za-z])", re.IGNORECASE), instead)
        for word, instead in _WORDS.items()
    ]
    phrases = [(re.compile(text, re.IGNORECASE), instead) for text, instead in _PHRASES.items()]
    return *words, *phrases, *((re.compile(text), instead) for text, instead in _CASED.items())


_PATTERNS = _compiled()


def findings(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the word and what to write instead, for each word found in `text`."""
    for number, line in enumerate(text.splitlines(), start=1):
        if _QUOTE in line:
            continue
        read = _CONTRACT.sub("", line)
        for pattern, instead in _PATTERNS:
            for found in pattern.finditer(read):
                yield number, found[0].strip(), instead


def _tracked() -> list[str]:
    """Return the tracked files that are read, as paths from the root of the repository."""
    try:
        listed = subprocess.run(
            ["git", "ls-files"],  # noqa: S607 - whichever git the developer has
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[0]
        raise SystemExit(f"words: git cannot list the files: {reason}") from None
    return [
        path
        for path in listed.stdout.splitlines()
        if not path.startswith(_SKIPPED) and not path.endswith(_SKIPPED_ENDS)
    ]


def main() -> None:
    """Print what was found; exit with 1 if anything was."""
    arguments = sys.argv[1:]
    only_count = "--count" in arguments
    wanted = tuple(each.rstrip("/") for each in arguments if not each.startswith("--"))
    counts = Counter[str]()
    for path in _tracked():
        if wanted and not any(path == each or path.startswith(f"{each}/") for each in wanted):
            continue
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):  # no text, or deleted
            continue
        for number, word, instead in findings(text):
            folder = path.partition("/")[0] if "/" in path else "."
            counts[folder] += 1
            if not only_count:
                print(f"{path}:{number}: {word!r}: {instead}")  # noqa: T201 - its result
    for folder, count in sorted(counts.items()):
        print(f"{folder}: {count}", file=sys.stderr)  # noqa: T201 - its result
    if counts:
        sys.exit(1)


if __name__ == "__main__":
    main()
