"""A cache of documents that were parsed, validated and planned."""

from collections import OrderedDict

from schema.execution.operation import PreparedDocument

MOST_DOCUMENTS = 500
LONGEST_DOCUMENT = 10_000  # characters; a longer one is parsed for each request
MOST_CHARACTERS = 50_000  # of all documents; each costs the garbage collector about 0.5 objects


class DocumentCache:
    """A least-recently-used cache of documents, by their text.

    At most MOST_DOCUMENTS documents and MOST_CHARACTERS characters.
    """

    def __init__(self) -> None:
        self._documents: OrderedDict[str, PreparedDocument] = OrderedDict()
        self._characters = 0

    def get(self, text: str) -> PreparedDocument | None:
        """Return the cached document; None if there is none."""
        document = self._documents.get(text)
        if document is not None:
            self._documents.move_to_end(text)
        return document

    def put(self, text: str, document: PreparedDocument) -> None:
        """Cache a document unless it is longer than LONGEST_DOCUMENT."""
        if len(text) > LONGEST_DOCUMENT or text in self._documents:
            return
        self._documents[text] = document
        self._characters += len(text)
        while len(self._documents) > MOST_DOCUMENTS or self._characters > MOST_CHARACTERS:
            dropped, _ = self._documents.popitem(last=False)
            self._characters -= len(dropped)
