"""Why a template has no result."""

from __future__ import annotations


class TemplateError(ValueError):
    """The text is not a template, or has no result for these values. ``hint`` says what to do, if that is known."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Runaway(TemplateError):
    """The templates of an event would compute for too long, or make too much text."""

    def __init__(self) -> None:
        super().__init__("it computes for too long, or makes too much text")


class NeedsThread(Exception):
    """The templates of an event need more time than the event loop may be held up: another thread renders them."""


class Exhausted(Exception):
    """Within a template: the meter has nothing left."""
