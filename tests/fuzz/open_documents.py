"""Operations for streams: mostly subscriptions, which are generated like queries."""

from functools import cache

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis_graphql import queries

from tests.fuzz.budget import SEED
from tests.fuzz.documents import DOCUMENTS, SCALARS, SDL

_COUNT = 120
_AS_QUERIES = [
    queries("schema { query: Subscription }\n" + SDL, custom_scalars=SCALARS, fields=[field])
    for field in ("priceUpdates", "refreshProgress")
]


def _subscription(document: str) -> str:
    return "subscription " + document.removeprefix("query ")


@cache
def open_documents() -> list[str]:
    """Return valid documents, the same for the same seed."""
    found: list[str] = []

    @seed(int(SEED))
    @settings(
        max_examples=_COUNT,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.one_of(*(each.map(_subscription) for each in _AS_QUERIES * 2), DOCUMENTS))
    def find(document: str) -> None:
        found.append(document)

    find()
    return found
