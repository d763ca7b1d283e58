"""All attacks by name, and how they run in a separate process."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Sequence

from benchmarks.siege.answers import ANSWERS
from benchmarks.siege.attacker import Attack, Attacker, Origin
from benchmarks.siege.operations import OPERATIONS
from benchmarks.siege.wires import WIRES

ATTACKS: dict[str, Attack] = {**WIRES, **ANSWERS, **OPERATIONS}


def attack(url: str, origin: Origin, names: Sequence[str], seconds: float) -> Counter[str]:
    """Run these attacks at once, in a separate process. Returns counts of the outcomes."""
    os.nice(10)  # must slow down only the server
    return asyncio.run(_attack(url, origin, names, seconds))


async def _attack(url: str, origin: Origin, names: Sequence[str], seconds: float) -> Counter[str]:
    attackers = [Attacker(url, origin) for _ in names]
    tasks = [
        asyncio.create_task(_run(ATTACKS[name](attacker)))
        for name, attacker in zip(names, attackers, strict=True)
    ]
    await asyncio.sleep(seconds)
    failed = [repr(task.exception()) for task in tasks if task.done() and task.exception()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    said = sum((attacker.said for attacker in attackers), Counter[str]())
    return said + Counter(f"the attack itself failed: {each}" for each in failed)


async def _run(attacking: Awaitable[None]) -> None:
    await attacking
