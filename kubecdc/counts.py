"""Numbers in messages, with the noun that belongs to them."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, one: str, more: str = "") -> str:
    """``1 event``, ``2 events``. ``more`` is the plural, if it is not made with an s."""
    return f"{number} {one if number == 1 else more or f'{one}s'}"
