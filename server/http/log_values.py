"""Values from callers in log lines, bounded in length."""

LONGEST_SHOWN = 200  # characters; in JSON a character takes at most 6 bytes


def shortened(text: str) -> str:
    """Return `text`; a long one is truncated and followed by its length."""
    if len(text) <= LONGEST_SHOWN:
        return text
    return f"{text[:LONGEST_SHOWN]}… ({len(text):,} characters)"
