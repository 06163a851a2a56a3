"""From the tokens of an expression to its tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from kubecdc.workers.sensor.filters.expression.lexer import Token

DEEPEST = 32  # parentheses and prefixes in each other
PRECEDENCE = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("==", "!=", ">", "<", ">=", "<=", "=~", "!~", "in"), 3),
    **dict.fromkeys(("&", "|", "^"), 4),
    **dict.fromkeys(("<<", ">>"), 5),
    **dict.fromkeys(("+", "-"), 6),
    **dict.fromkeys(("*", "/", "%"), 7),
    "**": 8,
}


@dataclass(frozen=True)
class Literal:
    """A value that stands in the expression."""

    value: object


@dataclass(frozen=True)
class Name:
    """The value of a field."""

    name: str


@dataclass(frozen=True)
class Items:
    """``(a, b)``: a list."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Prefix:
    """An operator before its operand. It binds more tightly than all others."""

    operator: str
    operand: Node


@dataclass(frozen=True)
class Infix:
    """An operator between its operands. Those of one precedence are grouped from the left."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Choice:
    """``condition ? then : otherwise``; null without the last part."""

    condition: Node
    then: Node
    otherwise: Node


Node: TypeAlias = Literal | Name | Items | Prefix | Infix | Choice


def parse(found: list[Token]) -> Node:
    """The tree of an expression. Raises ValueError."""
    parser = _Parser(found)
    node = parser.choice()
    if parser.next.kind != "end":
        raise ValueError(parser.unexpected())
    return node


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._depth = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def unexpected(self) -> str:
        if self.next.kind == "end":
            return "the expression ends too early"
        if self.next.value == "(" and self._at and self._tokens[self._at - 1].kind == "name":
            return f"there are no functions, such as {self._tokens[self._at - 1].value!r}"
        return f"unexpected {self.next.value!r} at character {self.next.at + 1}"

    def takes(self, operator: str) -> bool:
        """Go on if this operator is the next token."""
        if self.next.kind == "operator" and self.next.value == operator:
            self._at += 1
            return True
        return False

    def choice(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"the expression is nested more than {DEEPEST} deep")
        node = self.infix(0)
        if self.takes("??"):
            node = Infix("??", node, self.choice())
        elif self.takes("?"):
            then = self.choice()
            node = Choice(node, then, self.choice() if self.takes(":") else Literal(None))
        self._depth -= 1
        return node

    def infix(self, least: int) -> Node:
        node = self.prefix()
        while self.next.kind == "operator" and PRECEDENCE.get(str(self.next.value), 0) > least:
            operator = str(self.next.value)
            self._at += 1
            node = Infix(operator, node, self.infix(PRECEDENCE[operator]))
        return node

    def prefix(self) -> Node:
        for operator in "!-~":
            if self.takes(operator):
                self._depth += 1
                if self._depth > DEEPEST:
                    raise ValueError(f"the expression is nested more than {DEEPEST} deep")
                node = Prefix(operator, self.prefix())
                self._depth -= 1
                return node
        return self.primary()

    def primary(self) -> Node:
        token = self.next
        if token.kind in ("number", "text", "boolean"):
            self._at += 1
            return Literal(token.value)
        if token.kind == "name":
            self._at += 1
            return Name(str(token.value))
        if not self.takes("("):
            raise ValueError(self.unexpected())
        items = [self.choice()]
        while self.takes(","):
            items.append(self.choice())
        if not self.takes(")"):
            raise ValueError(self.unexpected())
        return items[0] if len(items) == 1 else Items(tuple(items))
