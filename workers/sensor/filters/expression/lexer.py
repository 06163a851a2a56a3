"""From the text of an expression to its tokens."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

LONGEST = 4096  # characters of an expression
MOST_TOKENS = 1000  # each may be a call in another when it is evaluated

Kind = Literal["number", "text", "boolean", "name", "operator", "end"]
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<hex>0x[0-9a-fA-F]+(?!\w)) | (?P<number>[0-9.]+(?!\w))
    | (?P<text>'(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*")
    | (?P<bracketed>\[(?:\\.|[^\]\\])+\])
    | (?P<name>[^\W\d](?:\\.|[\w.])*)
    | (?P<operator>&&|\|\||==|!=|>=|<=|=~|!~|\*\*|<<|>>|\?\?|[-+*/%<>!?:(),~&|^])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Token(NamedTuple):
    """``value`` is the text, number or boolean, or the operator; ``at`` its index in the expression."""

    kind: Kind
    value: object
    at: int


def tokens(source: str) -> list[Token]:
    """The tokens of an expression, with one of the kind "end". Raises ValueError."""
    if len(source) > LONGEST:
        raise ValueError(f"the expression has more than {LONGEST} characters")
    found: list[Token] = []
    source, at = source.rstrip(), 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if not match:
            raise ValueError(_unreadable(source, at))
        found.append(_token(match))
        at = match.end()
    if len(found) > MOST_TOKENS:
        raise ValueError(f"the expression has more than {MOST_TOKENS} parts")
    return [*found, Token("end", "", len(source))]


def _token(match: re.Match[str]) -> Token:
    group = str(match.lastgroup)
    text, at = match[group], match.start(group)
    match group:
        case "hex":
            return Token("number", float(int(text, 16)), at)
        case "number":
            return Token("number", _number(text), at)
        case "text":
            return Token("text", _ESCAPED.sub(r"\1", text[1:-1]), at)
        case "bracketed":
            return Token("name", _ESCAPED.sub(r"\1", text[1:-1]), at)
        case "name" if text in ("true", "false"):
            return Token("boolean", text == "true", at)
        case "name" if text in ("in", "IN"):
            return Token("operator", "in", at)
        case "name" if "." in text:
            raise ValueError(f"`{text}` is not a name: give the value a name in `fields`, with its path")
        case "name":
            return Token("name", _ESCAPED.sub(r"\1", text), at)
        case _:
            return Token("operator", text, at)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"`{text}` is not a number") from None


def _unreadable(source: str, at: int) -> str:
    rest = source[at:].lstrip()
    start = rest[:20]
    if rest[0] in "'\"":
        return f"the text that begins with {start} has no end"
    if rest[0] == "=":
        return f"unexpected {start!r}: values are compared with =="
    return f"unexpected {start!r}"
