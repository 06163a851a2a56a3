"""From the tree of an expression to a function of the values of its fields."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kubecdc.workers.sensor.filters.expression.lexer import tokens
from kubecdc.workers.sensor.filters.expression.operations import INFIX, PREFIX, boolean, text
from kubecdc.workers.sensor.filters.expression.parser import Choice, Infix, Items, Literal, Name, Node, Prefix, parse
from kubecdc.workers.sensor.filters.logic import FilterError, Unjudged
from kubecdc.workers.sensor.filters.regex import Pattern

Values = Mapping[str, Any]
Closure = Callable[[Values], Any]


@dataclass(frozen=True)
class Expression:
    """A compiled expression. ``is_slow``: it has a regular expression that may take long for a short text."""

    evaluate: Closure  # with the values as `operand` makes them; raises FilterError
    is_slow: bool


def compile_expression(source: str, names: Collection[str] | None = None) -> Expression:
    """Compile an expression. Each name in it must be one of ``names``, if they are known. Raises ValueError."""
    found = tokens(source)
    tree = parse(found)
    for token in found if names is not None else ():
        if token.kind == "name" and token.value not in (names or ()):
            raise ValueError(f"`{token.value}` is not the name of one of the `fields`")
    patterns: list[Pattern] = []
    return Expression(_closure(tree, patterns), any(pattern.is_large for pattern in patterns))


def operand(value: Any) -> Any:
    """A JSON value as expressions take it: numbers are floats."""
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def _closure(node: Node, patterns: list[Pattern]) -> Closure:
    match node:
        case Literal(value):
            return lambda values: value
        case Name(name):
            return operator.itemgetter(name)
        case Items(parts):
            made = [_closure(part, patterns) for part in parts]
            return lambda values: [part(values) for part in made]
        case Prefix(sign, part):
            apply, inner = PREFIX[sign], _closure(part, patterns)
            return lambda values: apply(inner(values))
        case Choice(condition, then, otherwise):
            return _choice(*(_closure(part, patterns) for part in (condition, then, otherwise)))
        case Infix("=~" | "!~" as sign, left, right):
            return _match(_closure(left, patterns), right, patterns, wanted=sign == "=~")
        case Infix(sign, left, right):
            return _infix(sign, _closure(left, patterns), _closure(right, patterns))


def _infix(sign: str, left: Closure, right: Closure) -> Closure:
    match sign:
        case "&&":
            return lambda values: boolean(left(values)) and boolean(right(values))
        case "||":
            return lambda values: boolean(left(values)) or boolean(right(values))
        case "??":
            return lambda values: found if (found := left(values)) is not None else right(values)
        case _:
            apply = INFIX[sign]
            return lambda values: apply(left(values), right(values))


def _choice(condition: Closure, then: Closure, otherwise: Closure) -> Closure:
    return lambda values: then(values) if boolean(condition(values)) else otherwise(values)


def _match(left: Closure, right: Node, patterns: list[Pattern], *, wanted: bool) -> Closure:
    if isinstance(right, Literal) and isinstance(right.value, str):
        pattern = Pattern(right.value)
        patterns.append(pattern)
        return lambda values: pattern.matches(text(left(values))) is wanted
    of = _closure(right, patterns)
    return lambda values: _from_event(of(values)).matches(text(left(values))) is wanted


def _from_event(value: Any) -> Pattern:
    """A regular expression that the event has."""
    if not Pattern.is_small(text(value)):
        raise Unjudged("a regular expression of the event is too large")
    try:
        return Pattern(value)
    except ValueError as e:
        raise FilterError(str(e)) from e
