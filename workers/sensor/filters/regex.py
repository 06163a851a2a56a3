"""Regular expressions of filters: RE2, not anchored, as in Argo Events."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import re2

LONGEST = 4096  # characters
LARGE = 1000  # instructions; RE2 takes at most 10 ms for 64 KiB of text with less, and seconds with many more
LONGEST_OF_EVENT = 200  # characters of one that an event brings
_PLAIN = re.compile(r"(\^?)([\w /:@,-]*)(\$?)")
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True  # nobody asks what a group matched, and to find out is slow
_SMALL = re2.Options()
_SMALL.log_errors = False
_SMALL.max_mem = 1 << 16  # bytes; with them, RE2 gives up early on what would take 0.3 s to compile


class Pattern:
    """A compiled expression. Raises ValueError if it is not valid, or too long.

    ``matches`` tells whether it matches some of a text. ``is_large``: that may take long.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ValueError(f"a regular expression has more than {LONGEST} characters")
        try:
            compiled: Any = re2.compile(text, _OPTIONS)
        except re2.error as e:
            why = e.args[0].decode(errors="replace") if isinstance(e.args[0], bytes) else e
            raise ValueError(f"{text[:100]!r} is not a regular expression of RE2: {why}") from e
        search = compiled.search
        self.is_large = compiled.programsize > LARGE
        self.matches: Callable[[str], bool] = _plainly(text) or (lambda found: search(found.encode()) is not None)

    @staticmethod
    def is_small(text: str) -> bool:
        """Whether it is compiled, and matched with 64 KiB of text, within a few milliseconds."""
        if len(text) > LONGEST_OF_EVENT:
            return False
        try:
            re2.compile(text, _SMALL)
        except re2.error as e:
            return "too large" not in str(e)
        return True


def _plainly(text: str) -> Callable[[str], bool] | None:
    """The same without RE2, which takes microseconds, for what most filters have: plain text, perhaps anchored."""
    if (plain := _PLAIN.fullmatch(text)) is None:
        return None
    start, literal, end = plain.groups()
    if start and end:
        return literal.__eq__
    if start:
        return lambda found: found.startswith(literal)
    if end:
        return lambda found: found.endswith(literal)
    return lambda found: literal in found
