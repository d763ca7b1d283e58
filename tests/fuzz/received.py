"""What the server sends over a WebSocket."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    data: bytes


def frames_in(received: bytes) -> Iterator[Frame]:
    """Take apart what the server sent. It must neither mask nor fragment."""
    while len(received) >= 2:
        first, length = received[0], received[1]
        assert first & 0x80, "a fragment"
        assert not first & 0x70, "a bit that means nothing"
        assert not length & 0x80, "a mask"
        at = 2
        if length == 126:
            length, at = struct.unpack_from("!H", received, 2)[0], 4
        elif length == 127:
            length, at = struct.unpack_from("!Q", received, 2)[0], 10
        if len(received) < at + length:
            return
        yield Frame(first & 0x0F, received[at : at + length])
        received = received[at + length :]
