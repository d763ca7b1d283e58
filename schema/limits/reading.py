"""Parsing of documents within limits."""

from graphql import DocumentNode, GraphQLSyntaxError, Location, Source, Token
from graphql.language.parser import Parser, nested_too_deeply_error

from schema.limits.bounds import Limits
from schema.limits.checks import check_document, too_many_tokens
from schema.limits.source import IndexedSource

_TOO_MANY = "Document contains more than"  # the only sign of it in graphql-core's error


class _Place(Location):
    """The position of a node in its document, without its tokens.

    Tokens would take most of a document's memory, and each one references all others.
    """

    __slots__ = ()

    def __init__(self, start: int, end: int, source: Source) -> None:
        self.start = start
        self.end = end
        self.source = source


class _Parser(Parser):
    def loc(self, start_token: Token) -> Location | None:
        lexer = self._lexer
        return _Place(start_token.start, lexer.last_token.end, lexer.source)


def read_document(text: str, limits: Limits) -> DocumentNode:
    """Parse a document. Raises TooComplexError and GraphQLSyntaxError."""
    check_document(text, limits)
    most = limits.max_tokens
    parser = _Parser(IndexedSource(text), max_tokens=most, max_comments=most)
    try:
        return parser.parse_document()
    except GraphQLSyntaxError as error:
        if _TOO_MANY in error.message:
            raise too_many_tokens(limits) from None
        raise
    except RecursionError:
        pass  # raise outside of this block, which holds all frames
    raise nested_too_deeply_error(parser)
