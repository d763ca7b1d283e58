"""A query for series with all their fields."""

from typing import Any

from tests.serving import Client

POINT = "timestamp price marketCap volume observedAt open high low close samples partial filled"
SERIES = f"""
    query Series($coin: ID! = "gappy", $currency: ID! = "usd", $from: DateTime, $to: DateTime,
                 $granularity: Granularity! = HOUR, $order: SortDirection! = ASC, $first: Int,
                 $fill: FillPolicy! = NONE) {{
      prices(coin: $coin, currency: $currency, from: $from, to: $to, granularity: $granularity,
             order: $order, first: $first, fill: $fill) {{
        from to next points {{ {POINT} }}
        columns {{
          timestamps prices marketCaps volumes open high low close samples partial filled
        }}
        coverage {{
          expected present firstAvailable lastAvailable
          gaps {{ from to buckets upstream askedSince askedTimes nextAsk }}
        }}
      }}
    }}
"""


async def series(client: Client, **variables: Any) -> dict[str, Any]:
    """Query a sample series, up to the spring in which most of them end."""
    if variables.get("coin") != "young":
        variables = {"to": "2021-04-01", **variables}
    answer: dict[str, Any] = (await client.data(SERIES, **variables))["prices"]
    return answer


async def walk(client: Client, first: int, order: str, **variables: Any) -> list[Any]:
    """Follow `next` to the last page. Return all points."""
    walked: list[Any] = []
    for _ in range(1000):
        answer = await series(client, first=first, order=order, **variables)
        walked += answer["points"]
        if answer["next"] is None:
            return walked
        assert len(answer["points"]) == first, "only the last page may be short"
        variables["from" if order == "ASC" else "to"] = answer["next"]
    raise AssertionError("the pages do not end")
