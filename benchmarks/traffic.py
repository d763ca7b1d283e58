"""Random requests like those of many different clients, reproducible by a seed."""

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta

from benchmarks.laboratory import Laboratory
from benchmarks.questions import STRAWBERRY_PRICES, Ask, graphql

_CURRENCIES = ("usd", "eur", "gbp", "jpy")
_FIELDS = ("timestamp", "price", "marketCap", "volume", "samples", "partial", "observedAt")
_LATEST = "latestPrices(coins: $coins, currencies: [%s]) { coin currency price change24h }"
_LONGEST = 2_160
_POPULAR = 200  # different requests, most of which are rare


class Traffic:
    """Draws requests for the series that have prices."""

    def __init__(self, laboratory: Laboratory, coins: Sequence[str], seed: int = 1) -> None:
        self._laboratory = laboratory
        self._coins = coins
        self._random = random.Random(seed)  # noqa: S311 - reproducible, not secret

    def varied(self, number: int) -> Iterator[Ask]:
        """Yield requests that almost all differ: in documents, variables, and mistakes."""
        kinds = (self._range, self._document, self._latest, self._list, self._mistake)
        for _ in range(number):
            yield self._random.choices(kinds, weights=(50, 25, 10, 10, 5))[0]()

    def popular(self, number: int) -> Iterator[Ask]:
        """Yield requests of which few are frequent and most are rare (Zipf distribution)."""
        questions = [self._range() for _ in range(_POPULAR)]
        weights = [1 / rank for rank in range(1, _POPULAR + 1)]
        yield from self._random.choices(questions, weights, k=number)

    def _range(self) -> Ask:
        """Return the same document with another range."""
        return graphql(STRAWBERRY_PRICES, **self._arguments())

    def _arguments(self) -> dict[str, object]:
        draw = self._random
        hours = round(2 ** draw.uniform(3, 11))  # as many short ranges as long ones
        start = self._laboratory.recent(0).start
        start += timedelta(hours=draw.randrange(_LONGEST - hours), seconds=draw.randrange(3_600))
        return {
            "coin": draw.choice(self._coins),
            "currency": draw.choice(_CURRENCIES),
            "from": start.isoformat(),
            "to": (start + timedelta(hours=hours)).isoformat(),
        }

    def _document(self) -> Ask:
        """Return a new document: other fields, another alias, values in the text."""
        draw = self._random
        fields = " ".join(draw.sample(_FIELDS, draw.randint(1, len(_FIELDS))))
        values = {name: f'"{value}"' for name, value in self._arguments().items()}
        given = ", ".join(f"{name}: {value}" for name, value in values.items())
        alias = f"chart{draw.randrange(10**6)}"
        return graphql(f"{{ {alias}: prices({given}) {{ revision points {{ {fields} }} }} }}")

    def _latest(self) -> Ask:
        coins = self._random.sample(self._coins, self._random.randint(1, len(self._coins)))
        codes = self._random.sample(_CURRENCIES, self._random.randint(1, len(_CURRENCIES)))
        listed = ", ".join(f'"{code}"' for code in codes)
        return graphql(f"query Now($coins: [ID!]) {{ {_LATEST % listed} }}", coins=coins)

    def _list(self) -> Ask:
        first, hours = self._random.randint(1, 20), self._random.randint(1, 48)
        return graphql(
            "query List($first: Int!, $hours: Int!) { coins(first: $first) { nodes { id name "
            'prices(currency: "usd", first: $hours, order: DESC) { points { price } } } } }',
            first=first,
            hours=hours,
        )

    def _mistake(self) -> Ask:
        """Return a request with an error: an unknown field, an unknown coin, invalid GraphQL."""
        odd = f"wrong{self._random.randrange(10**6)}"
        return graphql(
            self._random.choice(
                (f"{{ {odd} }}", f'{{ prices(coin: "{odd}") {{ revision }} }}', f"{{ {odd}")
            )
        )
