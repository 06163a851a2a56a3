"""The expression of ``conditions``: names of dependencies with ``&&``, ``||`` and parentheses, as in Argo Events."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass

MOST_NESTED = 50  # parentheses within each other
_TOKEN = re.compile(r"\s*(&&|\|\||[()]|[^\s()&|]+)")

Met = Callable[[Set[str]], bool]


class BadConditions(ValueError):
    """The text is no such expression. The message says where."""


@dataclass(frozen=True)
class Expression:
    """``names`` are those that it has. ``met`` tells whether it is true if the events of some of them are there."""

    names: frozenset[str]
    met: Met

    @classmethod
    def all_of(cls, names: Iterable[str]) -> Expression:
        """What holds without ``conditions``: an event of each dependency."""
        wanted = frozenset(names)
        return cls(wanted, lambda present: wanted <= present)

    @property
    def alone(self) -> frozenset[str]:
        """The names of which a single event is enough."""
        return frozenset(name for name in self.names if self.met({name}))


def parse(text: str) -> Expression:
    """Read an expression. ``&&`` binds closer than ``||``, as in Go. Raises BadConditions."""
    tokens = _tokens(text)
    if not tokens:
        raise BadConditions("is empty")
    return _Parser(tokens).whole()


def _tokens(text: str) -> list[tuple[str, int]]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            at = len(text) - len(text[at:].lstrip())
            raise BadConditions(f"{text[at]!r} at character {at + 1} is not an operator: write `&&` or `||`")
        tokens.append((found[1], found.start(1) + 1))
        at = found.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[tuple[str, int]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._names: set[str] = set()

    def whole(self) -> Expression:
        met = self._any()
        if self._at < len(self._tokens):
            text, place = self._tokens[self._at]
            raise BadConditions(f"{text!r} at character {place} is not expected: `&&` or `||` is missing before it")
        return Expression(frozenset(self._names), met)

    def _any(self) -> Met:
        parts = [self._all()]
        while self._take("||"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda present: any(part(present) for part in parts)

    def _all(self) -> Met:
        parts = [self._one()]
        while self._take("&&"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda present: all(part(present) for part in parts)

    def _one(self) -> Met:
        if self._take("("):
            self._depth += 1
            if self._depth > MOST_NESTED:
                raise BadConditions(f"has more than {MOST_NESTED} parentheses within each other")
            met = self._any()
            if not self._take(")"):
                raise BadConditions("a parenthesis is not closed")
            self._depth -= 1
            return met
        if self._at == len(self._tokens):
            raise BadConditions("ends where the name of a dependency is expected")
        name, place = self._tokens[self._at]
        if name in {"&&", "||", ")"}:
            raise BadConditions(f"{name!r} at character {place} stands where the name of a dependency is expected")
        if name.startswith("!"):
            raise BadConditions(f"{name!r} at character {place} is a negation, which `conditions` cannot have")
        self._at += 1
        self._names.add(name)
        return lambda present: name in present

    def _take(self, token: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][0] == token:
            self._at += 1
            return True
        return False
