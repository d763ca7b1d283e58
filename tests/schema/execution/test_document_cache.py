"""The document cache is bounded and holds only valid documents."""

from graphql import parse

from schema import build_schema
from schema.execution import document_cache
from schema.execution.document_cache import DocumentCache
from schema.execution.operation import PreparedDocument
from tests.serving import Client

_NODE = parse("{ __typename }")
DOCUMENT = PreparedDocument(build_schema()._schema, "{ __typename }", _NODE)  # noqa: SLF001 - graphql-core's own


def test_the_least_recently_used_are_dropped() -> None:
    cache = DocumentCache()
    texts = [f"{{ a{number} }}" for number in range(document_cache.MOST_DOCUMENTS)]
    for text in texts:
        cache.put(text, DOCUMENT)
    assert cache.get(texts[0]) is DOCUMENT  # and so it is no longer the oldest
    cache.put("{ one_more }", DOCUMENT)
    assert cache.get(texts[1]) is None
    assert cache.get(texts[0]) is DOCUMENT


def test_the_characters_are_bounded() -> None:
    cache = DocumentCache()
    text = "#" * document_cache.LONGEST_DOCUMENT
    kept = document_cache.MOST_CHARACTERS // document_cache.LONGEST_DOCUMENT
    texts = [text[:-6] + f"{number:06}" for number in range(kept + 1)]
    for each in texts:
        cache.put(each, DOCUMENT)
    assert [cache.get(each) is not None for each in texts] == [False] + [True] * kept


def test_a_long_document_is_not_cached() -> None:
    cache = DocumentCache()
    text = "#" * (document_cache.LONGEST_DOCUMENT + 1)
    cache.put(text, DOCUMENT)
    assert cache.get(text) is None


async def test_only_valid_documents_are_cached() -> None:
    schema = build_schema()
    kept = schema._documents  # noqa: SLF001 - nothing else shows it
    for text in ("{ nope }", "{ __typename", "{ currencies }"):
        assert (await schema.execute(text)).errors
        assert kept.get(text) is None
    assert not (await schema.execute("{ __typename }")).errors
    assert kept.get("{ __typename }") is not None


async def test_a_cached_document_gives_the_same_response(reader: Client) -> None:
    """With other variables, another operation of the document, and by GET."""
    text = "query A($id: ID!) { coin(id: $id) { id } } query B { __typename }"
    for _ in range(2):
        for coin in ("bitcoin", "ethereum"):
            body = {"query": text, "variables": {"id": coin}, "operationName": "A"}
            answer = await reader.http.post("/graphql", json=body)
            assert answer.json() == {"data": {"coin": {"id": coin}}}
        answer = await reader.http.post("/graphql", json={"query": text, "operationName": "B"})
        assert answer.json() == {"data": {"__typename": "Query"}}
        answer = await reader.http.post("/graphql", json={"query": text})
        assert answer.status_code == 400
    mutation = "mutation { refreshPrices { started } }"
    assert (await reader.http.post("/graphql", json={"query": mutation})).status_code == 401
    assert (await reader.http.get("/graphql", params={"query": mutation})).status_code == 405
