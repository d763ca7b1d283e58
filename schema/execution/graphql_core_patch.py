"""Mends graphql-core's search for names that are like a mistyped one.

It makes its rows as long as the text, and reads them by the text in lower case; İ alone has two
letters there, and what was a caller's mistake became an IndexError (seen in 3.3.2).
"""

import importlib

_module = importlib.import_module("graphql.pyutils.suggestion_list")  # a function has its name


class LexicalDistance(_module.LexicalDistance):  # type: ignore[misc, name-defined] # as it is looked up
    """Counts edits, with room for the text in lower case."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._rows = [[0] * (len(self._input_list) + 1) for _ in range(3)]


def patch() -> None:
    """Let the library use ours."""
    _module.LexicalDistance = LexicalDistance  # type: ignore[attr-defined] # a module that has it
