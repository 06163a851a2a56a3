"""From the text of a gjson path to its steps."""

from __future__ import annotations

import functools
import re

import msgspec

from kubecdc.jsonpath import modifiers
from kubecdc.jsonpath.compare import OPERATIONS, condition, pattern
from kubecdc.jsonpath.read import Count, Each, Key, Literal, Modifier, Multipath, Path, Query, QueryAll, Step, Wildcard

LONGEST = 8192  # characters of a path
DEEPEST = 32  # brackets in each other
_OPENING = {"(": ")", "[": "]", "{": "}"}
_MODIFIER = re.compile(r"@(\w+)(?=[.|:]|$)")
_WORD = re.compile(r"!(true|false|null)(?=[.|]|$)", re.IGNORECASE)
_SIMPLE_NAME = re.compile(r"[^\x00-\x1f\[\]{}()#|!]*")


@functools.lru_cache(maxsize=4096)
def compile(path: str) -> Path:  # noqa: A001 - the word everybody knows, as in `re.compile`
    """Compile a path. Raises ValueError with the reason."""
    require_bounds(path)
    if path.startswith(".."):
        raise ValueError("JSON lines (`..`) are not supported")
    parser = _Parser(path)
    return Path(path, parser.stages())


def require_bounds(path: str) -> None:
    """Raise ValueError for a path that is too long to be meant."""
    if len(path) > LONGEST:
        raise ValueError(f"the path has more than {LONGEST} characters")


def closing(path: str, start: int) -> int:
    """The index of the bracket that closes the one at ``start``; brackets in quotes do not count."""
    expected = [_OPENING[path[start]]]
    i = start + 1
    while i < len(path):
        character = path[i]
        if character == "\\":
            i += 1
        elif character == '"':
            i = quote_end(path, i)
        elif character in _OPENING:
            expected.append(_OPENING[character])
            if len(expected) > DEEPEST:
                raise ValueError(f"the path has more than {DEEPEST} brackets in each other")
        elif character == expected[-1]:
            expected.pop()
            if not expected:
                return i
        i += 1
    raise ValueError(f"`{path[start]}` is not closed in {path!r}")


def quote_end(path: str, start: int) -> int:
    """The index of the quote that ends the text whose opening quote is at ``start``."""
    i = start + 1
    while i < len(path):
        if path[i] == "\\":
            i += 1
        elif path[i] == '"':
            return i
        i += 1
    raise ValueError(f"a quote is not closed in {path!r}")


class _Parser:
    def __init__(self, path: str) -> None:
        self.path = path
        self.at = 0

    def stages(self) -> tuple[tuple[Step, ...], ...]:
        """All of the path."""
        stages: list[tuple[Step, ...]] = []
        while True:
            stages.extend(self.dotted())
            if self.at >= len(self.path):
                return tuple(stages)
            self.at += 1  # the pipe

    def dotted(self) -> list[tuple[Step, ...]]:
        """Up to the next pipe. A modifier or multipath after a dot starts a stage, as after a pipe."""
        stages: list[tuple[Step, ...]] = []
        steps: list[Step] = []
        first = True
        while True:
            special = self.special(first)
            if special is not None:
                if steps:
                    stages.append(tuple(steps))
                    steps = []
                stages.append((special,))
            else:
                steps.append(self.step())
            first = False
            if self.at >= len(self.path) or self.path[self.at] == "|":
                return [*stages, tuple(steps)] if steps else stages
            if self.path[self.at] != ".":
                raise ValueError(f"unexpected {self.path[self.at :]!r} in {self.path!r}")
            self.at += 1

    def special(self, first: bool) -> Step | None:
        rest = self.path[self.at :]
        if rest[:1] in ("[", "{"):
            return self.multipath()
        if (match := _MODIFIER.match(rest)) and match[1] in modifiers.NAMES:
            return self.modifier(match[1])
        return self.literal(rest) if first and rest.startswith("!") else None

    def step(self) -> Step:
        if self.path.startswith(("#(", "#["), self.at):
            return self.query()
        if self.path.startswith("#", self.at) and self.path[self.at + 1 : self.at + 2] in ("", ".", "|"):
            self.at += 1
            sub = self.sub_path()
            return Each(sub) if sub else Count()
        return self.key()

    def sub_path(self) -> Path | None:
        """What follows a dot, up to the pipe, as a path of its own: it is applied to each element."""
        if not self.path.startswith(".", self.at):
            return None
        self.at += 1
        start = self.at
        stages = tuple(self.dotted())
        return Path(self.path[start : self.at], stages)

    def key(self) -> Step:
        start, wild = self.at, False
        name: list[str] = []
        glob: list[str] = []
        while self.at < len(self.path) and self.path[self.at] not in ".|":
            character = self.path[self.at]
            if character == "\\":
                self.at += 1
                character = self.path[self.at : self.at + 1]
                glob.append("\\" + character)
            else:
                wild = wild or character in "*?"
                glob.append(character)
            name.append(character)
            self.at += 1
        if start == self.at:
            raise ValueError(f"{self.path!r} has an empty part" if self.path else "the path is empty")
        if wild:
            return Wildcard(pattern("".join(glob)))
        text = "".join(name)
        return Key(text, int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None)

    def query(self) -> Step:
        end = closing(self.path, self.at + 1)
        query = _query(self.path[self.at + 2 : end])
        self.at = end + 1
        if not self.path.startswith("#", self.at):
            return query
        self.at += 1
        return QueryAll(query, self.sub_path())

    def modifier(self, name: str) -> Step:
        self.at += 1 + len(name)
        argument = ""
        if self.path.startswith(":", self.at):
            self.at += 1
            argument = self.argument()
        return Modifier(modifiers.modifier(name, argument, compile))

    def argument(self) -> str:
        start = self.at
        if self.path[start : start + 1] in ("{", "["):
            self.at = closing(self.path, start) + 1
        elif self.path.startswith('"', start):
            self.at = quote_end(self.path, start) + 1
        else:
            while self.at < len(self.path) and self.path[self.at] != "|":
                character = self.path[self.at]
                if character in _OPENING:
                    self.at = closing(self.path, self.at)
                elif character == '"':
                    self.at = quote_end(self.path, self.at)
                self.at += 1
        return self.path[start : self.at]

    def literal(self, rest: str) -> Step | None:
        if match := _WORD.match(rest):
            self.at += match.end()
            return Literal({"true": True, "false": False, "null": None}[match[1].lower()])
        start = self.at + 1
        lead = self.path[start : start + 1]
        if lead in ("{", "["):
            end = closing(self.path, start) + 1
        elif lead == '"':
            end = quote_end(self.path, start) + 1
        elif lead.isdigit() or lead in ("+", "-"):
            end = len(self.path)
        else:
            return None
        try:
            value = msgspec.json.decode(self.path[start:end])
        except msgspec.DecodeError as e:
            raise ValueError(f"{self.path[start:end]!r} is not a JSON literal") from e
        self.at = end
        return Literal(value)

    def multipath(self) -> Step:
        start, end = self.at, closing(self.path, self.at)
        names: list[str] = []
        paths: list[Path] = []
        for name, item in _selectors(self.path[start + 1 : end]):
            if not item:  # as between two commas: it finds nothing
                continue
            names.append(name if name is not None else _name_of(item))
            paths.append(compile(item))
        self.at = end + 1
        return Multipath(tuple(names) if self.path[start] == "{" else None, tuple(paths))


def _query(inside: str) -> Query:
    """``path op value``; the operator is the first outside of brackets and quotes."""
    i = 0
    while i < len(inside) and inside[i] not in "!=<>%":
        if inside[i] == "\\":
            i += 1
        elif inside[i] == '"':
            i = quote_end(inside, i)
        elif inside[i] in _OPENING:
            i = closing(inside, i)
        i += 1
    path, rest = inside[:i].strip(), inside[i:].strip()
    op = next((op for op in OPERATIONS if rest.startswith(op)), "")
    if rest and not op:
        raise ValueError(f"{rest!r} has no operator; there are {' '.join(OPERATIONS)}")
    value = rest[len(op) :].strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        try:
            value = msgspec.json.decode(value, type=str)
        except msgspec.DecodeError as e:
            raise ValueError(f"{value} is not a JSON string") from e
    return Query(compile(path) if path else None, condition(op, value))


def _selectors(inside: str) -> list[tuple[str | None, str]]:
    """The comma-separated paths of a multipath, each with the name before its colon."""
    selectors: list[tuple[str | None, str]] = []
    start, colon, modifier, i = 0, -1, False, 0
    while i <= len(inside):
        character = inside[i : i + 1]
        if character in ("", ","):
            name = inside[start:colon] if colon >= 0 else None
            selectors.append((_unquote(name), inside[max(start, colon + 1) : i]))
            start, colon, modifier = i + 1, -1, False
        elif character == "\\":
            i += 1
        elif character == '"':
            i = quote_end(inside, i)
        elif character in _OPENING:
            i = closing(inside, i)
        elif character == "@" and (i == start or inside[i - 1] in ".|"):
            modifier = True
        elif character == ":" and colon < 0 and not modifier:
            colon = i
        i += 1
    return selectors


def _unquote(name: str | None) -> str | None:
    if name is not None and name.startswith('"'):
        try:
            return msgspec.json.decode(name, type=str)
        except msgspec.DecodeError:
            return name
    return name


def _name_of(path: str) -> str:
    """The last part of a path, "_" if it is no plain name."""
    last = re.split(r"(?<!\\)[.|]", path)[-1]
    return last if _SIMPLE_NAME.fullmatch(last) else "_"
