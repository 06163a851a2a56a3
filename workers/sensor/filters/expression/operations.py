"""What the operators do with values: numbers are floats, as in Go. What they cannot work on is a FilterError."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from itertools import repeat
from typing import Any

from kubecdc.workers.sensor.filters.logic import FilterError, Unjudged

LONGEST_TEXT = 1 << 20  # characters that + may make
DEEPEST = 100  # lists and objects in each other that are compared
_BITS = 64


def kind(value: Any) -> str:
    """What a value is, for messages."""
    match value:
        case bool():
            return "a boolean"
        case float() | int():
            return "a number"
        case str():
            return "text"
        case None:
            return "null"
        case dict():
            return "an object"
        case _:
            return "a list"


def boolean(value: Any) -> bool:
    """The value, which must be a boolean."""
    if value is True or value is False:
        return value
    raise FilterError(f"true or false is needed where {kind(value)} is")


def number(value: Any) -> float:
    """The value, which must be a number."""
    if isinstance(value, float):
        return value
    raise FilterError(f"a number is needed where {kind(value)} is")


def text(value: Any) -> str:
    """The value, which must be text."""
    if isinstance(value, str):
        return value
    raise FilterError(f"text is needed where {kind(value)} is")


def same(left: Any, right: Any, depth: int = DEEPEST) -> bool:
    """Whether two JSON values are equal. Values of different types are not, and that is no error."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if depth == 0:
        raise Unjudged(f"values that are nested more than {DEEPEST} deep are not compared")
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right, repeat(depth - 1)))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key], depth - 1) for key in left)
    return not isinstance(left, list | dict) and bool(left == right)


def among(left: Any, right: Any) -> bool:
    """``in``."""
    if not isinstance(right, list):
        raise FilterError(f"`in` needs a list on its right, but there is {kind(right)}")
    return any(same(left, item) for item in right)


def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Two numbers, or two texts by their characters."""

    def compared(left: Any, right: Any) -> bool:
        if isinstance(left, str) and isinstance(right, str):
            return compare(left, right)
        return compare(number(left), number(right))

    return compared


def plus(left: Any, right: Any) -> Any:
    """The sum of two numbers. If one side is text, both are joined."""
    if not isinstance(left, str) and not isinstance(right, str):
        return number(left) + number(right)
    joined = _shown(left) + _shown(right)
    if len(joined) > LONGEST_TEXT:
        raise Unjudged(f"+ makes text of more than {LONGEST_TEXT} characters")
    return joined


def _shown(value: Any) -> str:
    """A value as Go's ``%v``."""
    match value:
        case str():
            return value
        case None:
            return "<nil>"
        case True | False:
            return "true" if value else "false"
        case float() if math.isfinite(value):
            return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
        case float():
            return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    raise FilterError(f"{kind(value)} cannot be joined to text")


def divided(left: Any, right: Any) -> float:
    """Infinite if the divisor is 0, as in Go."""
    dividend, divisor = number(left), number(right)
    if divisor:
        return dividend / divisor
    if dividend == 0 or math.isnan(dividend):
        return math.nan
    return math.copysign(math.inf, dividend) * math.copysign(1, divisor)


def remainder(left: Any, right: Any) -> float:
    """With the sign of the dividend."""
    try:
        return math.fmod(number(left), number(right))
    except ValueError:
        return math.nan


def power(left: Any, right: Any) -> float:
    """Infinite if it is too large, as in Go."""
    base, exponent = number(left), number(right)
    is_odd = exponent.is_integer() and exponent % 2 == 1
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and is_odd else math.inf
    except ValueError:
        if base:
            return math.nan
        return math.copysign(math.inf, base) if is_odd else math.inf


def whole(value: Any) -> int:
    """The value without its fraction, which must fit into 64 bits."""
    given = number(value)
    if not abs(given) < 2.0 ** (_BITS - 1):
        raise FilterError(f"a number of less than {_BITS} bits is needed")
    return int(given)


def bitwise(operation: Callable[[int, int], int]) -> Callable[[Any, Any], float]:
    """On the whole parts of two numbers."""
    return lambda left, right: float(operation(whole(left), whole(right)))


def _shifted(operation: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def shifted(value: int, by: int) -> int:
        if value < 0 or by < 0:
            raise FilterError("a shift needs numbers of at least 0")
        return operation(value, by) % 2**_BITS if by < _BITS else 0

    return shifted


INFIX: dict[str, Callable[[Any, Any], Any]] = {
    "==": same,
    "!=": lambda left, right: not same(left, right),
    ">": ordered(operator.gt),
    "<": ordered(operator.lt),
    ">=": ordered(operator.ge),
    "<=": ordered(operator.le),
    "in": among,
    "+": plus,
    "-": lambda left, right: number(left) - number(right),
    "*": lambda left, right: number(left) * number(right),
    "/": divided,
    "%": remainder,
    "**": power,
    "&": bitwise(operator.and_),
    "|": bitwise(operator.or_),
    "^": bitwise(operator.xor),
    "<<": bitwise(_shifted(operator.lshift)),
    ">>": bitwise(_shifted(operator.rshift)),
}
PREFIX: dict[str, Callable[[Any], Any]] = {
    "!": lambda value: not boolean(value),
    "-": lambda value: -number(value),
    "~": lambda value: float(~whole(value)),
}
