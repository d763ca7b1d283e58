"""The check of words finds what it lists, in texts and in names, and leaves quotations alone."""

import pytest

from tests.words import findings


@pytest.mark.parametrize(
    "line",
    [
        "It tells whether the run has ended.",
        "await tell_series(session)",
        "_TELL = 1",
        "Costs are RECKONED before.",
        "a hole in the history",
        "Who waits is answered.",
        "It takes at most so long.",
        "a run that was given up",
        "class Kept:",
    ],
)
def test_a_word_is_found(line: str) -> None:
    [(number, _, instead)] = findings(f"\n{line}\n")
    assert number == 2
    assert instead


@pytest.mark.parametrize(
    "line",
    [
        "The whole series, as long as it is stored.",
        "Authorization: Bearer token",
        "A recommended amendment besides others; storytellers.",
        "Who may import whom?",
        '"limit": 1500000, "dearest": {"field": "prices"}',
        '"we told you so"  # words: quote',
    ],
)
def test_other_lines_pass(line: str) -> None:
    assert not list(findings(line))
