"""The share of a typical mix of requests that the response cache answers."""

import asyncio
from collections import Counter

from benchmarks import wire
from benchmarks.figures import Section
from benchmarks.laboratory import Laboratory
from benchmarks.peers.catalog import COINGRAPH
from benchmarks.traffic import Traffic
from benchmarks.works.memory import tracked_coins

_REQUESTS, _FEW = 2_000, 500


def run(laboratory: Laboratory) -> Section:
    number = _FEW if laboratory.options.quick else _REQUESTS
    traffic = Traffic(laboratory, tracked_coins(laboratory))
    asks = list(traffic.popular(number))
    with COINGRAPH.start(laboratory.place()) as server:

        async def ask_all() -> Counter[str]:
            connection = await wire.connect(server.url)
            answers = [await connection.send(ask) for ask in asks]
            connection.close()
            return Counter(answer.headers.get("x-cache", "no header") for answer in answers)

        counted = asyncio.run(ask_all())
    rows = [[said, f"{n:,}", f"{n / number:.1%}"] for said, n in counted.most_common()]
    remark = (
        f"{number:,} requests about 200 ranges, few of them often and most rarely (Zipf), to a "
        f"server just started: {len(set(asks))} different ones, so at best "
        f"{1 - len(set(asks)) / number:.1%} can be hits."
    )
    return Section(
        "the response cache under a usual mix", ("`X-Cache`", "requests", "share"), rows, (),
        [remark],
    )  # fmt: skip
