"""Operations as expensive as the limits allow, each in a way of its own."""

from collections.abc import Callable

Text = Callable[[int], str]  # with something repeated that many times

_ALL = "timestamp price marketCap volume observedAt open high low close samples partial filled"
_HOUR_SERIES = 'coin: "bitcoin", first: 10000'
_FILLED = 'coin: "bitcoin", from: "2020-01-01T00:00:00Z", fill: NULL'
_DAYS = (
    'coins: ["bitcoin", "ethereum", "tether", "ripple", "binancecoin", "solana", "usd-coin", '
    '"dogecoin", "cardano", "tron", "chainlink"], currencies: ["usd", "eur", "gbp", "jpy"], '
    "granularity: DAY"
)


def _aliases(times: int, field: str) -> str:
    return " ".join(f"a{number}: {field}" for number in range(times))


def _root(field: str) -> Text:
    return lambda times: f"{{ {_aliases(times, field)} }}"


def _coins(field: str) -> Text:
    return lambda times: f"{{ coins(first: 500) {{ nodes {{ {_aliases(times, field)} }} }} }}"


def _series(field: str) -> Text:
    return lambda times: f"{{ prices({_HOUR_SERIES}) {{ {_aliases(times, field)} }} }}"


def _points(field: str) -> Text:
    """One list, as long as is allowed with that many names for one field of it."""
    return lambda times: (
        f"{{ prices({_FILLED}, first: {min(10_000, 1_480_000 // max(1, times))}) "
        f"{{ points {{ {_aliases(times, field)} }} }} }}"
    )


def expensive(since: str) -> dict[str, Text]:
    """Give them by name; `since` is the start of a range that all series cover."""
    return {
        "short series of each coin": _coins(f"prices(first: 500) {{ points {{ {_ALL} }} }}"),
        "tiny series of each coin": _coins("prices(first: 9) { points { timestamp price } }"),
        "a point of each coin": _coins("prices(first: 1) { coin currency from to revision next }"),
        "one list of times": _points("timestamp"),
        "one list of moments": _points("observedAt"),
        "one list of names": _points("__typename"),
        "long lists": _series("points { timestamp price }"),
        "columns": _series("columns { timestamps prices }"),
        "statistics": _series("statistics { count mean volatility maximumDrawdown { percent } }"),
        "volatility": _series("statistics { volatility }"),
        "averages": _series("movingAverage(window: 1000, kind: EMA)"),
        "downsampled": _series("downsampled(maxPoints: 2000) { price }"),
        "coverage": _coins("prices(first: 1) { coverage { expected gaps { from to } } }"),
        "metadata": _coins("metadata { description imageUrl websiteUrl updatedAt }"),
        "latest of each coin": _coins("latest { price observedAt ageSeconds }"),
        "latest prices": _root("latestPrices { coin currency price observedAt }"),
        "aligned": _root(f"alignedPrices({_DAYS}) {{ timestamps series {{ prices }} }}"),
        "anomalies": _root(f'anomalies(from: "{since}", window: 24) {{ timestamp price score }}'),
        "statuses": _root("seriesStatus { coin currency ageSeconds stale reason revision }"),
        "plans": _root("refreshPlan { calls series { coin currency reason calls } }"),
        "runs": _root("refreshRuns(first: 20) { nodes { id status items { coin status } } }"),
        "the same coin": _root('coin(id: "bitcoin") { id name symbol createdAt }'),
        "currencies": _root("currencies { code name symbol }"),
        "a type": _root('__type(name: "PricePoint") { fields { name description isDeprecated } }'),
        "all types": _root("__schema { types { name description } }"),
        "all arguments": _root(
            "__schema { types { name fields { name args { name type { name kind } } } } }"
        ),
    }


_COIN = 'coin(id: "bitcoin") { id name }'
_LONG = f"query {{ ...F }} fragment F on Query {{ {_aliases(90, _COIN)} }}"
UNKNOWN: dict[str, str] = {  # what reading them takes, where they are refused or answered
    "a long text": _LONG,
    "a long text with mistakes": _LONG.replace("name }", "nome }"),
    "fields that share a name": f"{{ coins(first: 1) {{ nodes {{ {'id ' * 1_950} }} }} }}",
    "nothing but brackets": "{ a(b: " + "[" * 1_990,
    "a text of 99,000 characters": "{ __typename }" + "#" * 98_986,
}
