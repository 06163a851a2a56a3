"""The filter language of subscriptions, as far as documented: has, =, !=, hasPrefix, NOT, AND, OR, parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.storage.pubsub.fake.messages import invalid

Attributes = Mapping[str, str]
Test = Callable[[Attributes], bool]
MOST_BYTES = 256
TOKEN = re.compile(
    r"\s*(?:(?P<word>AND|OR|NOT|-(?=attributes|hasPrefix|\())|(?P<paren>[()])"
    r"|attributes:(?P<has>[\w-]+)"
    r'|attributes\.(?P<key>[\w-]+)\s*(?P<op>!?=)\s*"(?P<value>(?:[^"\\]|\\.)*)"'
    r'|hasPrefix\(attributes\.(?P<start>[\w-]+),\s*"(?P<prefix>(?:[^"\\]|\\.)*)"\))\s*'
)


def parsed(text: str) -> Test:
    """The filter as a function. Raises Refused for what the service refuses."""
    if len(text.encode()) > MOST_BYTES:
        raise invalid(f"The filter is too long: {len(text.encode())} bytes, the maximum is {MOST_BYTES}.")
    tokens, at = [], 0
    while at < len(text):
        found = TOKEN.match(text, at)
        if not found:
            raise invalid(f"Invalid filter at {text[at:]!r}")
        tokens.append(found)
        at = found.end()
    if not tokens:
        return lambda _: True
    test, rest = _terms(tokens)
    if rest:
        raise invalid(f"Invalid filter: {text!r}")
    return test


def _terms(tokens: list[re.Match[str]]) -> tuple[Test, list[re.Match[str]]]:
    """Terms joined by AND, or by OR; both without parentheses are refused."""
    first, tokens = _term(tokens)
    tests, joined = [first], ""
    while tokens and (word := tokens[0]["word"]) in {"AND", "OR"}:
        if joined not in {"", word}:
            raise invalid("AND and OR have to be separated by parentheses")
        joined = word
        test, tokens = _term(tokens[1:])
        tests.append(test)
    both = any if joined == "OR" else all
    return (lambda attributes: both(test(attributes) for test in tests)), tokens


def _term(tokens: list[re.Match[str]]) -> tuple[Test, list[re.Match[str]]]:
    if not tokens:
        raise invalid("Invalid filter: it ends too early")
    token, *rest = tokens
    if token["word"] in {"NOT", "-"}:
        inner, rest = _term(rest)
        return (lambda attributes: not inner(attributes)), rest
    if token["paren"] == "(":
        inner, rest = _terms(rest)
        if not rest or rest[0]["paren"] != ")":
            raise invalid("Invalid filter: a parenthesis is missing")
        return inner, rest[1:]
    if key := token["has"]:
        return (lambda attributes: key in attributes), rest
    if key := token["start"]:
        prefix = _unescaped(token["prefix"])
        return (lambda attributes: attributes.get(key, "").startswith(prefix)), rest
    if key := token["key"]:
        value, equal = _unescaped(token["value"]), token["op"] == "="
        return (lambda attributes: (attributes.get(key) == value) == equal), rest
    raise invalid("Invalid filter")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
