"""Why something failed, as people read it: one printable line of bounded length, whatever a peer has said."""

from __future__ import annotations

LONGEST_REASON = 1000  # characters


def one_line(text: str, most: int = LONGEST_REASON) -> str:
    """The text as one printable line, at most so many characters long. Only that much of it is looked at."""
    start = text[: most + 1]
    if not start.isprintable():
        start = "".join(c if c.isprintable() else " " for c in start)
    return start if len(start) <= most else f"{start[: most - 1]}…"
