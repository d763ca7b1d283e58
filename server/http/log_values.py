"""What callers send, as far as the log has it."""

LONGEST_SHOWN = 200  # characters; in JSON one takes 6 bytes at most


def shortened(text: str) -> str:
    """Cut a long text, and say how long it was."""
    if len(text) <= LONGEST_SHOWN:
        return text
    return f"{text[:LONGEST_SHOWN]}… ({len(text):,} characters)"
