"""Label and field selectors: parsed with the server's own complaints, then matched.

Grammar and texts: k8s.io/apimachinery pkg/labels/selector.go and pkg/fields/selector.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.apiserver.changes import Stored
from tests.apiserver.errors import bad_request
from tests.apiserver.resources import Kind

_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)

Labels = Mapping[str, str]
_TOKEN = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+|$)")
_SPECIAL = {"=", "==", "!=", "!", "<", ">", "(", ")", ",", ""}
_BINARY = ("in", "notin", "=", "==", "!=", "gt", "lt")


def label_fault(key: str) -> str:
    """Why a label key is refused; empty where it is not."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (_PREFIX.fullmatch(prefix) and len(prefix) <= 253):
        return "prefix part must be a DNS subdomain"
    if not _NAME.fullmatch(name):
        return NAME_RULE
    return "name part must be no more than 63 bytes" if len(name) > 63 else ""


def value_fault(value: str) -> str:
    """Why a label value is refused; empty where it is not."""
    if not _VALUE.fullmatch(value):
        return VALUE_RULE
    return "must be no more than 63 bytes" if len(value) > 63 else ""


class _Tokens:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while match := _TOKEN.match(text, at):
            self._tokens.append(match[1])
            at = match.end()
            if not match[1]:
                break
        self._at = 0

    def peek(self) -> str:
        return self._tokens[min(self._at, len(self._tokens) - 1)]

    def take(self) -> str:
        token = self.peek()
        self._at += 1
        return token


class _Fault(Exception):
    pass


def _quoted(token: str) -> str:
    return f"'{token}'"


class Requirement:
    """One condition on one label."""

    def __init__(self, key: str, operator: str, values: list[str]) -> None:
        self.key, self.operator, self.values = key, operator, frozenset(values)
        self.number = int(values[0]) if operator in {"gt", "lt"} else 0

    def matches(self, labels: Labels) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in" | "=" | "==":
                return value in self.values
            case "notin" | "!=":
                return value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        if value is None or not re.fullmatch(r"[+-]?\d+", value):
            return False
        return int(value) > self.number if self.operator == "gt" else int(value) < self.number


def parse_labels(text: str) -> list[Requirement]:
    """The requirements of a label selector; ApiError 400 in the server's words."""
    tokens, found = _Tokens(text), []
    try:
        while token := tokens.peek():
            if token in _SPECIAL - {"!"}:
                raise _Fault(f"found {_quoted(token)}, expected: !, identifier, or 'end of string'")
            try:
                found.append(_requirement(tokens))
            except _Fault as e:
                raise bad_request(f"unable to parse requirement: {e}") from None
            match after := tokens.take():
                case "":
                    return found
                case ",":
                    if tokens.peek() in _SPECIAL - {"!"}:
                        raise _Fault(f"found {_quoted(tokens.peek())}, expected: identifier after ','")
                case _:
                    raise _Fault(f"found {_quoted(after)}, expected: ',' or 'end of string'")
    except _Fault as e:
        raise bad_request(str(e)) from None
    return found


def _requirement(tokens: _Tokens) -> Requirement:
    absent = tokens.peek() == "!"
    if absent:
        tokens.take()
    key = tokens.take()
    if key in _SPECIAL:
        raise _Fault(f"found {_quoted(key)}, expected: identifier")
    if why := label_fault(key):
        raise _Fault(f'<nil>: Invalid value: "{key}": {why}')
    if absent:
        return Requirement(key, "!", [])
    if tokens.peek() in {"", ","}:
        return Requirement(key, "exists", [])
    token = tokens.take()
    operator = {">": "gt", "<": "lt"}.get(token, token)
    if token in {"gt", "lt"} or operator not in _BINARY:
        raise _Fault(f"found {_quoted(token)}, expected: {', '.join(_BINARY)}")
    values = _values(tokens) if operator in {"in", "notin"} else [_value(tokens)]
    for i, value in enumerate(values):
        if operator in {"gt", "lt"}:
            if not re.fullmatch(r"[+-]?\d+", value):
                raise _Fault(
                    f"values[{i}]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
                )
        elif why := value_fault(value):
            raise _Fault(f'values[{i}][{key}]: Invalid value: "{value}": {why}')
    return Requirement(key, operator, values)


def _value(tokens: _Tokens) -> str:
    if tokens.peek() in {"", ","}:
        return ""
    token = tokens.take()
    if token in _SPECIAL:
        raise _Fault(f"found {_quoted(token)}, expected: identifier")
    return token


def _values(tokens: _Tokens) -> list[str]:
    if (token := tokens.take()) != "(":
        raise _Fault(f"found {_quoted(token)} expected: '('")
    values: list[str] = []
    while True:
        token = tokens.peek()
        if token in {",", ")"}:
            values.append("")
        elif token in _SPECIAL:
            raise _Fault(f"found {_quoted(token)}, expected: ',', ')' or identifier")
        else:
            values.append(tokens.take())
        token = tokens.take()
        if token == ")":
            return values
        if token != ",":
            raise _Fault(f"found {_quoted(token)}, expected: ',' or ')'")
        if tokens.peek() == ")":
            tokens.take()
            return [*values, ""]


def parse_fields(text: str, kind: Kind) -> list[tuple[str, bool, str]]:
    """(path, equal, value) of each term of a field selector; ApiError 400 in the server's words."""
    terms: list[tuple[str, bool, str]] = []
    for term in re.split(r"(?<!\\),", text):
        if not term:
            continue
        if not (match := re.match(r"(.*?)(!=|==|=)(.*)", term, re.DOTALL)):
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        if stray := re.search(r"(?<!\\)[=,]", match[3]):
            raise bad_request(f"invalid field selector: unescaped character in value: {ord(stray[0])}")
        terms.append((match[1], match[2] != "!=", re.sub(r"\\(.)", r"\1", match[3])))
    for path, _, _ in terms:
        if path not in {"metadata.name", "metadata.namespace", *kind.selectable}:
            raise bad_request(f"field label not supported: {path}")
    return terms


def _field(stored: Stored, path: str) -> str:
    value: Any = stored.body()
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


class Selector:
    """Label and field selector of one request, and the namespace of its path."""

    def __init__(self, kind: Kind, namespace: str = "", labels: str = "", fields: str = "") -> None:
        self.namespace = namespace
        self._labels = parse_labels(labels)
        self._terms = parse_fields(fields, kind)

    @property
    def everything(self) -> bool:
        """True without any label or field condition."""
        return not self._labels and not self._terms

    def matcher(self) -> Callable[[Stored], bool] | None:
        """The test; None where everything passes, so that the caller can skip it."""
        if self.everything and not self.namespace:
            return None
        return self.matches

    def matches(self, stored: Stored) -> bool:
        if self.namespace and stored.namespace != self.namespace:
            return False
        for requirement in self._labels:
            if not requirement.matches(stored.labels):
                return False
        for path, equal, value in self._terms:
            match path:
                case "metadata.name":
                    found = stored.name
                case "metadata.namespace":
                    found = stored.namespace
                case _:
                    found = _field(stored, path)
            if (found == value) is not equal:
                return False
        return True
