"""Patches graphql-core's suggestions of similar names for a misspelt one.

graphql-core sizes its rows by the text, but indexes them by the text in lower case. The letter İ
has two letters in lower case, so a misspelt name raised an IndexError (seen in graphql-core 3.3.2).
"""

import importlib

_module = importlib.import_module("graphql.pyutils.suggestion_list")  # a function has its name


class LexicalDistance(_module.LexicalDistance):  # type: ignore[misc, name-defined] # graphql-core looks the class up by this name
    """Counts edits between names, with rows sized for the text in lower case."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._rows = [[0] * (len(self._input_list) + 1) for _ in range(3)]


def patch() -> None:
    """Replace graphql-core's class."""
    _module.LexicalDistance = LexicalDistance  # type: ignore[attr-defined] # a module that has it
