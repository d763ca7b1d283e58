"""How much of one turn of the event loop long answers may take, so that others get theirs."""

import asyncio
from weakref import WeakKeyDictionary

_MOST_OBJECTS = 20_000  # some 5 ms

_taken: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()


def turn_has_room(objects: int) -> bool:
    """Take room for so many objects in this turn of the loop, if there is any left.

    The first to ask always gets it, however long its list is.
    """
    loop = asyncio.get_running_loop()
    taken = _taken.get(loop)
    if taken is None:
        loop.call_soon(_taken.pop, loop)
        taken = 0
    if taken and taken + objects > _MOST_OBJECTS:
        return False
    _taken[loop] = taken + objects
    return True
