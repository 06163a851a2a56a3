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


def without(value: object, message: str) -> str:
    """The message of a validator without the value that it is about, which may be a secret."""
    shown = repr(value)
    return message.removeprefix(f"{shown} ").replace(shown, "it") if isinstance(value, str) and value else message
