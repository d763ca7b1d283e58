"""Parses the bytes received over a WebSocket."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from websockets.frames import Opcode


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    data: bytes


def frames_in(received: bytes) -> Iterator[Frame]:
    """Parse the frames of the server, which must neither mask nor fragment."""
    for head, mask, data in _parts(received):
        assert head & 0x80, "a fragment"
        assert not head & 0x70, "a bit that means nothing"
        assert not mask, "a mask"
        yield Frame(head & 0x0F, data)


def closes_in(sent: bytes) -> set[bytes]:
    """Return the close frames of a client: code and reason."""
    return {
        bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        for head, mask, data in _parts(sent)
        if head & 0x0F == Opcode.CLOSE and mask
    }


def _parts(stream: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the first byte, the mask, if any, and the data of each complete frame."""
    while len(stream) >= 2:
        length, at = stream[1] & 0x7F, 2
        wide = {126: "!H", 127: "!Q"}.get(length)
        if wide:
            at += struct.calcsize(wide)
            if len(stream) < at:
                return
            (length,) = struct.unpack_from(wide, stream, 2)
        end = at + (4 if stream[1] & 0x80 else 0)
        if len(stream) < end + length:
            return
        yield stream[0], stream[at:end], stream[end : end + length]
        stream = stream[end + length :]
