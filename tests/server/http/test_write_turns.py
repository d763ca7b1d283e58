"""One caller's large responses leave turns of the event loop to everybody else."""

import asyncio

from server.http.write_turns import BYTES_PER_TURN, WriteTurns

PIECE = BYTES_PER_TURN // 4


async def _turns_of_others(work: asyncio.Task[None], most: int) -> int:
    """Return how many turns of the loop others have until the task is done."""
    turns = 0
    while not work.done() and turns < most:
        await asyncio.sleep(0)
        turns += 1
    return turns


async def test_hundreds_of_responses_of_one_caller_take_many_turns() -> None:
    turns = WriteTurns(asyncio.get_running_loop())
    written = 0

    async def respond() -> None:
        nonlocal written
        for _ in range(4):
            await turns.take("greedy", PIECE)
            written += PIECE

    async def everything() -> None:
        await asyncio.gather(*(respond() for _ in range(100)))

    work = asyncio.create_task(everything())
    before = 0
    seen = 0
    while not work.done():
        await asyncio.sleep(0)
        assert written - before <= 2 * BYTES_PER_TURN, "what one turn may write, and its overlap"
        before, seen = written, seen + 1
    assert written == 400 * PIECE
    assert seen >= 90


async def test_others_write_at_once() -> None:
    turns = WriteTurns(asyncio.get_running_loop())
    greedy = [asyncio.create_task(turns.take("greedy", BYTES_PER_TURN)) for _ in range(50)]
    await asyncio.sleep(0)
    assert await _turns_of_others(asyncio.create_task(turns.take("other", PIECE)), 50) == 1
    assert not all(task.done() for task in greedy)
    await asyncio.gather(*greedy)


async def test_a_caller_that_leaves_takes_no_turn() -> None:
    turns = WriteTurns(asyncio.get_running_loop())
    tasks = [asyncio.create_task(turns.take("one", BYTES_PER_TURN)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[1:9]:
        task.cancel()
    assert await _turns_of_others(tasks[9], 50) <= 4
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not turns._written, "an idle connection costs nothing"  # noqa: SLF001 - nothing else shows it
    assert not turns._waiting  # noqa: SLF001 - likewise
