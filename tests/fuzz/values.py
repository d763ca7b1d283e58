"""Values that break programs, next to valid ones."""

from random import Random
from typing import Any

KNOWN = ["bitcoin", "ethereum", "usd", "eur"]
TEXTS = [
    *("", " ", "\0", "\x7f", "bitcoin\0", "%", "_", "\\", "'", '"', "--", "${x}", "../..", "null"),
    *(
        "BITCOIN",
        "bitcoin ",
        "é",
        "e\u0301",
        "İ",
        "ß",
        "\u202egpj",
        "😀",
        "\ufeff",
        "\ufffe",
        "\U0010ffff",
    ),
    *(
        "a" * 300,
        "é" * 5000,
        "00000000-0000-0000-0000-000000000000",
        "0" * 36,
        "{}",
        "MjA=",
        "====",
        "%00",
    ),
    *("0190a000-0000-7000-8000-000000000000", "NaN", "1e400", "٣", "-0", "0x10", "usd,eur", "\r\n"),
]
INTEGERS = [
    *(0, 1, -1, 2, 3, 23, 24, 25, 89, 90, 91, 500, 501, 999, 1000, 3650, 3651, 10_000, 10_001),
    *(2**31 - 1, -(2**31), 2**31, 2**53, 2**63 - 1, -(2**63), 2**63, 10**30, -(10**400)),
]
FLOATS = [0.0, -0.0, 1e-300, 5e-324, 1e308, -1e308, 0.1, 4.0, 24.5, 1e15, 1e22]
TIMES = [
    *("2026-01-01", "2026-01-01T00:00:00Z", "1970-01-01", "2200-12-31T23:59:59.999999Z"),
    *("0000-00-00", "0001-01-01", "9999-12-31T23:59:59Z", "1969-12-31", "2026-02-30", "2026-13-01"),
    *(
        "2026-01-01T23:59:60Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+23:59",
    ),
    *(
        "2026-01-01T00:00:00-24:00",
        "2026-01-01T00:00:00.123456789Z",
        "\uff12\uff10\uff12\uff16-01-01",
        "2026-1-1",
    ),
    *(
        "now",
        "yesterday",
        "1767225600",
        "-271821-04-20",
        "2026-01-01T00:00:00+99:99",
        "1970-01-01T00:00:00+14:00",
    ),
    *("2200-12-31T23:59:59-23:59", "2026-01-01 00:00:00z", "2026-W01-1", "20260101", "2026-001"),
]


def value(random: Random, depth: int = 0) -> Any:
    """Make any JSON value."""
    kind = random.randrange(9 if depth < 3 else 7)
    if kind < 2:
        return random.choice(KNOWN)
    if kind < 5:
        return random.choice((TEXTS, INTEGERS, FLOATS, TIMES)[random.randrange(4)])
    if kind < 7:
        return random.choice([None, True, False])
    if kind == 7:
        return [value(random, depth + 1) for _ in range(random.choice([0, 1, 1, 2, 5, 60]))]
    names = ["coins", "currencies", "days", "ids", "search", "wait", "input", "__proto__", ""]
    return {random.choice(names): value(random, depth + 1) for _ in range(random.randrange(5))}


def cut(random: Random, data: bytes, strange: list[bytes]) -> bytes:
    """Damage bytes one to five times: flip, drop, repeat, move, insert or truncate."""
    for _ in range(random.choice([1, 1, 1, 2, 3, 5])):
        at = random.randrange(len(data) + 1)
        to = min(len(data), at + random.choice([1, 1, 2, 5, 20, 100]))
        match random.randrange(6):
            case 0:
                data = data[:at] + bytes(random.randrange(256) for _ in data[at:to]) + data[to:]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:at] + data[at:to] * random.choice([2, 3, 50]) + data[to:]
            case 3:
                data = data[:at] + data[to:] + data[at:to]
            case 4:
                data = data[:at] + random.choice(strange) + data[at:]
            case _:
                data = data[:at]
    return data
