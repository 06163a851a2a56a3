"""``data``: a value in the event's data, compared as text (RE2), as a number or as a boolean.

Values are converted as gjson does: text that is no number is 0, and what is neither true nor false is false.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from kubecdc import jsonpath
from kubecdc.workers.sensor.filters.regex import Pattern

Accepts = Callable[[Any], bool]
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_TRUE, _FALSE = {"1", "t", "true"}, {"0", "f", "false"}
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


def acceptance(type_: str, comparator: str, values: Sequence[str]) -> Accepts:
    """What tells whether a value of the event fits one of ``values``; with ``!=`` it must fit none of them.

    Raises ValueError with what is wrong in ``values``.
    """
    fits = _FITS[type_](comparator or "=", values)
    return (lambda found: not fits(found)) if comparator == "!=" else fits


def _text(comparator: str, values: Sequence[str]) -> Accepts:
    patterns = [Pattern(value) for value in values]

    def accepts(found: Any) -> bool:
        text = jsonpath.text(found)
        return any(pattern.matches(text) for pattern in patterns)

    return accepts


def _number(comparator: str, values: Sequence[str]) -> Accepts:
    compare = _ORDER["=" if comparator == "!=" else comparator]
    wanted = [_given_number(value) for value in values]

    def accepts(found: Any) -> bool:
        number = as_number(found)
        return any(compare(number, value) for value in wanted)

    return accepts


def _bool(comparator: str, values: Sequence[str]) -> Accepts:
    wanted = {_given_bool(value) for value in values}
    return lambda found: as_bool(found) in wanted


_FITS = {"string": _text, "number": _number, "bool": _bool}


def _given_number(value: str) -> float:
    number = float(value) if _NUMBER.fullmatch(value) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"{value[:100]!r} is not a number")
    return number


def _given_bool(value: str) -> bool:
    if value.lower() not in _TRUE | _FALSE:
        raise ValueError(f"{value[:100]!r} is neither true nor false")
    return value.lower() in _TRUE


def as_number(value: Any) -> float:
    """A JSON value as gjson's ``Float()``."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else 0.0
    try:
        return float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_bool(value: Any) -> bool:
    """A JSON value as gjson's ``Bool()``."""
    if isinstance(value, str):
        return value.lower() in _TRUE
    return isinstance(value, int | float) and value != 0
