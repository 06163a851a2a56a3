"""The conditions inside ``#(…)``, and the patterns of ``*``, ``?`` and ``%``."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import re2

from kubecdc.jsonpath.read import MISSING

OPERATIONS = ("!=", "!%", "<=", ">=", "==", "<", ">", "=", "%")  # longest first
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_QUIET = re2.Options()
_QUIET.log_errors = False
_TRUE = {"1", "t", "true"}
_FALSE = {"0", "f", "false"}


def pattern(glob: str) -> Callable[[str], bool]:
    """A matcher of whole texts: ``*`` is any text, ``?`` any character, ``\\`` escapes the next one. Linear in time.

    Raises ValueError if it is too long.
    """
    parts = []
    characters = iter(glob)
    for character in characters:
        if character == "\\":
            parts.append(re2.escape(next(characters, "\\")))
        else:
            parts.append({"*": ".*", "?": "."}.get(character) or re2.escape(character))
    try:
        expression = re2.compile("(?s)" + "".join(parts), _QUIET)
    except re2.error as e:  # it would be too large a program
        raise ValueError("a pattern is too long") from e
    return lambda text: expression.fullmatch(text) is not None


def condition(op: str, wanted: str) -> Callable[[Any], bool]:
    """The condition of a query. With ``op`` "", it is that there is a value."""
    op = "=" if op == "==" else op
    if wanted.startswith("~"):
        return _loosely(op, wanted[1:])
    if op == "":
        return lambda found: found is not MISSING
    if op in ("%", "!%"):
        matches = pattern(wanted)
        return lambda found: isinstance(found, str) and matches(found) is (op == "%")
    compare = _ORDER[op]
    number = _number(wanted)

    def accepts(found: Any) -> bool:
        if isinstance(found, bool):
            return _bool(op, found, wanted)
        if isinstance(found, str):
            return compare(found, wanted)
        return isinstance(found, int | float) and compare(found, number)

    return accepts


def _loosely(op: str, wanted: str) -> Callable[[Any], bool]:
    kinds: dict[str, Callable[[Any], bool]] = {
        "*": lambda found: found is not MISSING,
        "null": lambda found: found is None or found is MISSING,
        "true": lambda found: _truth(found) is True,
        "false": lambda found: found is None or found is MISSING or _truth(found) is False,
    }
    kind = kinds.get(wanted)
    if kind is None:
        raise ValueError(f"`~{wanted}` is not one of ~true, ~false, ~null, ~*")
    return lambda found: _bool(op, kind(found), "true") if op else True


def _truth(found: Any) -> bool | None:
    if isinstance(found, str):
        word = found.lower()
        return True if word in _TRUE else False if word in _FALSE else None
    return bool(found) if isinstance(found, int | float) else None


def _bool(op: str, found: bool, wanted: str) -> bool:
    """False is less than true. A text that is neither equals neither."""
    match op:
        case "=":
            return wanted == str(found).lower()
        case "!=":
            return wanted != str(found).lower()
        case ">" if found:
            return wanted == "false"
        case "<" if not found:
            return wanted == "true"
        case ">=":
            return found
        case "<=":
            return not found
    return False


def _number(text: str) -> float:
    """The text as a number, 0 if it is none, as in gjson."""
    try:
        return float(text)
    except ValueError:
        return 0.0
