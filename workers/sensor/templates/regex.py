"""Sprig's functions for regular expressions, by RE2 and with the semantics of Go's ``regexp``.

The engine that gotpl brings is written in Python: a few hundred characters can keep it busy for a minute.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from time import thread_time
from typing import Any

import re2
from gotpl.funcs.sprig._values import NilSlice  # what Go prints as `[]`, and encodes as `null`

from kubecdc.workers.sensor.templates.meter import MADE, charge

LONGEST = 1024  # characters of an expression
LARGEST = 5000  # instructions of RE2's program for it
_COMPILING = 40.0  # microseconds for each character of an expression
_STEP = 0.0002  # microseconds for each character of the text and instruction of the program, at worst
_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 20


@functools.lru_cache(maxsize=256)
def _compile(expression: str) -> Any:
    if len(expression) > LONGEST:
        raise ValueError(f"a regular expression has more than {LONGEST} characters")
    charge(len(expression) * _COMPILING)
    try:
        pattern: Any = re2.compile(expression, _OPTIONS)
    except re2.error as e:
        why = e.args[0].decode(errors="replace") if isinstance(e.args[0], bytes) else e
        raise ValueError(f"{expression[:100]!r} is not a regular expression of RE2: {why}") from None
    if pattern.programsize > LARGEST:
        raise ValueError(f"{expression[:100]!r} is too large for a regular expression")
    return pattern


def _matches(expression: str, text: str, most: int = -1) -> Iterator[Any]:
    """The matches, without empty ones that follow another at once (package regexp: "adjacent to a preceding match")."""
    pattern = _compile(expression)
    charge(len(text) * (pattern.programsize + 10) * _STEP)
    end, begun = -1, thread_time()
    for match in pattern.finditer(text):
        begun = _timed(begun)
        if most == 0:
            return
        if match.end() > match.start() or match.start() != end:
            yield match
            most -= 1
        end = match.end()


def _timed(begun: float) -> float:
    now = thread_time()
    charge((now - begun) * 1e6)
    return now


def match(expression: str, text: str) -> bool:
    """``regexMatch``: also False if it is no regular expression, as in Sprig."""
    try:
        return must_match(expression, text)
    except ValueError:
        return False


def must_match(expression: str, text: str) -> bool:
    """``mustRegexMatch``."""
    return next(_matches(expression, text), None) is not None


def find(expression: str, text: str) -> str:
    """``regexFind``: the first match, or ""."""
    found = next(_matches(expression, text), None)
    return "" if found is None else found.group()


def find_all(expression: str, text: str, count: int) -> Sequence[object]:
    """``regexFindAll``: at most ``count`` matches, all if it is negative."""
    return [found.group() for found in _matches(expression, text, count)] or NilSlice()


def replace_all(expression: str, text: str, replacement: str) -> str:
    """``regexReplaceAll``: ``$1`` and ``${name}`` stand for what the groups have matched."""

    def expand(found: Any) -> str:
        return _REFERENCE.sub(lambda reference: "$" if reference[1] else _group(found, reference), replacement)

    return _replaced(expression, text, expand if "$" in replacement else lambda _: replacement)


def replace_all_literal(expression: str, text: str, replacement: str) -> str:
    """``regexReplaceAllLiteral``."""
    return _replaced(expression, text, lambda _: replacement)


def _replaced(expression: str, text: str, replacement: Callable[[Any], str]) -> str:
    pieces: list[str] = []
    end = 0
    for found in _matches(expression, text):
        piece = replacement(found)
        charge(len(piece) * MADE)
        pieces += (text[end : found.start()], piece)
        end = found.end()
    return "".join((*pieces, text[end:]))


def _group(found: Any, reference: re.Match[str]) -> str:
    name = reference[2] or reference[3]
    try:
        return found[int(name) if name.isascii() and name.isdigit() else name] or ""
    except (IndexError, ValueError):
        return ""


def split(expression: str, text: str, count: int) -> Sequence[object]:
    """``regexSplit``: at most ``count`` pieces, all if it is negative (``Regexp.Split`` of Go)."""
    if count in (0, 1):
        return [text] if count else NilSlice()
    if expression and not text:
        return [""]
    pieces: list[str] = []
    start = end = 0
    for found in _matches(expression, text, count):
        if len(pieces) == count - 1:
            break
        end = found.start()
        if found.end() != 0:
            pieces.append(text[start:end])
        start = found.end()
    if end != len(text):
        pieces.append(text[start:])
    return pieces


FUNCTIONS: dict[str, Callable[..., object]] = {
    "regexMatch": match,
    "mustRegexMatch": must_match,
    **dict.fromkeys(("regexFind", "mustRegexFind"), find),
    **dict.fromkeys(("regexFindAll", "mustRegexFindAll"), find_all),
    **dict.fromkeys(("regexReplaceAll", "mustRegexReplaceAll"), replace_all),
    **dict.fromkeys(("regexReplaceAllLiteral", "mustRegexReplaceAllLiteral"), replace_all_literal),
    **dict.fromkeys(("regexSplit", "mustRegexSplit"), split),
}
