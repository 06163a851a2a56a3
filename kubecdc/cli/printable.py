"""Text of peers as a terminal may show it."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    """The text with control characters as escapes (``\\\\x1b``, ``\\\\n``), but for those in ``keep``.

    What an API server, a bus or a receiver says could otherwise move the cursor, set colors or hide lines.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
