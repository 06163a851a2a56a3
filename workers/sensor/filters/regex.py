"""Regular expressions of filters: RE2, not anchored, as in Argo Events."""

from __future__ import annotations

from typing import Any

import re2

LONGEST = 4096  # characters
LARGE = 1000  # instructions; RE2 takes at most 10 ms for 64 KiB of text with less, and seconds with many more
LONGEST_OF_EVENT = 200  # characters of one that an event brings
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True  # nobody asks what a group matched, and to find out is slow
_SMALL = re2.Options()
_SMALL.log_errors = False
_SMALL.max_mem = 1 << 16  # bytes; with them, RE2 gives up early on what would take 0.3 s to compile


class Pattern:
    """A compiled expression. Raises ValueError if it is none, or too long."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ValueError(f"a regular expression has more than {LONGEST} characters")
        try:
            compiled: Any = re2.compile(text, _OPTIONS)
        except re2.error as e:
            why = e.args[0].decode(errors="replace") if isinstance(e.args[0], bytes) else e
            raise ValueError(f"{text[:100]!r} is not a regular expression of RE2: {why}") from e
        self._search = compiled.search
        self.is_large = compiled.programsize > LARGE

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

    def matches(self, text: str) -> bool:
        """Whether it matches some of the text."""
        return self._search(text.encode()) is not None  # RE2 reads bytes; it would count characters in a `str`
