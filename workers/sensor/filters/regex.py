"""Regular expressions of filters: RE2, not anchored, as in Argo Events."""

from __future__ import annotations

from typing import Any

import re2

LONGEST = 4096  # characters
LARGE = 1000  # instructions; RE2 takes at most 10 ms for 64 KiB of text with less, and seconds with many more
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True  # nobody asks what a group matched, and to find out is slow


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

    def matches(self, text: str) -> bool:
        """Whether it matches some of the text."""
        return self._search(text.encode()) is not None  # RE2 reads bytes; it would count characters in a `str`
