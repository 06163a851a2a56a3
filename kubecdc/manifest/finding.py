"""What is wrong at one place of a manifest."""

from __future__ import annotations

from dataclasses import dataclass

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Finding:
    """A place in a manifest, what is wrong there, and how to correct it."""

    location: Location
    message: str
    hint: str = ""
    meant: str = ""  # the field that was meant
