"""A cache of documents that were parsed, validated and planned."""

from models.least_recently_used import LeastRecentlyUsed
from schema.execution.operation import PreparedDocument

MOST_DOCUMENTS = 500
LONGEST_DOCUMENT = 10_000  # characters; a longer one is parsed for each request
MOST_CHARACTERS = 50_000  # of all documents; each costs the garbage collector about 0.5 objects
_LEAST = MOST_CHARACTERS // MOST_DOCUMENTS  # characters that a shorter document counts as


class DocumentCache:
    """A least-recently-used cache of documents, by their text.

    At most MOST_DOCUMENTS documents and MOST_CHARACTERS characters.
    """

    def __init__(self) -> None:
        self._documents = LeastRecentlyUsed[str, PreparedDocument](MOST_CHARACTERS)
        self.get = self._documents.get

    def put(self, text: str, document: PreparedDocument) -> None:
        """Cache a document unless it is longer than LONGEST_DOCUMENT."""
        if len(text) <= LONGEST_DOCUMENT:
            self._documents.put(text, document, max(len(text), _LEAST))
