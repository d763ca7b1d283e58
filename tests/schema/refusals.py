"""Rejected requests as a client sees them."""

from typing import Any

from tests.serving import Reader

PRICES = """
    query ($coin: ID! = "bitcoin", $currency: ID! = "usd", $from: DateTime, $to: DateTime,
           $granularity: Granularity! = HOUR, $first: Int) {
      prices(coin: $coin, currency: $currency, from: $from, to: $to, granularity: $granularity,
             first: $first) { next }
    }
"""
LEAKS = ("Traceback", "SELECT", "sqlalchemy", "asyncpg", ".py", "Error(")


async def refused(reader: Reader, query: str, **variables: Any) -> tuple[int, str, str]:
    """Send a request that must fail as a whole. Return status, code and message."""
    response = await reader.post(query, **variables)
    body = response.json()
    assert not any(value is not None for value in (body.get("data") or {}).values()), body
    assert not any(leak in response.text for leak in LEAKS), response.text
    assert len({error["message"] for error in body["errors"]}) == 1, body
    error = body["errors"][0]
    return response.status_code, error["extensions"]["code"], error["message"]
