"""The steps of a compiled path, and how each finds its value."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias

import msgspec

Json: TypeAlias = Any  # what a JSON decoder returns


class Missing(enum.Enum):
    """The result if there is nothing at the path. `None` is a JSON null."""

    MISSING = enum.auto()

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing.MISSING


@dataclass(frozen=True)
class Key:
    """A member by its name, or an element by its index."""

    name: str
    index: int | None


class Search(Protocol):
    """Any other part of a path between two dots."""

    def find(self, value: Json, rest: tuple[Step, ...]) -> Json:
        """Follow this step and then the rest of them."""
        ...


Step: TypeAlias = Key | Search


def follow(value: Json, steps: tuple[Step, ...]) -> Json:
    """Follow the steps one by one. Most are keys, which are followed in this loop: a call for each would cost more."""
    for at, step in enumerate(steps, 1):
        if not isinstance(step, Key):
            return step.find(value, steps[at:])
        if type(value) is dict:
            value = value.get(step.name, MISSING)
        elif step.index is not None and isinstance(value, list) and step.index < len(value):
            value = value[step.index]
        else:
            return MISSING
    return value


@dataclass(frozen=True)
class Wildcard:
    """The first member whose name matches and that has the rest of the path."""

    matches: Callable[[str], bool]

    def find(self, value: Json, rest: tuple[Step, ...]) -> Json:
        if isinstance(value, dict):
            for name, member in value.items():
                if self.matches(name) and (found := follow(member, rest)) is not MISSING:
                    return found
        return MISSING


@dataclass(frozen=True)
class Count:
    """``#``: the length of an array."""

    def find(self, value: Json, rest: tuple[Step, ...]) -> Json:
        return follow(len(value), rest) if isinstance(value, list) else MISSING


@dataclass(frozen=True)
class Each:
    """``#.path``: what the path finds in each element."""

    path: Path

    def find(self, value: Json, rest: tuple[Step, ...]) -> Json:
        if not isinstance(value, list):
            return MISSING
        return follow([v for e in value if (v := self.path.get(e)) is not MISSING], rest)


@dataclass(frozen=True)
class Query:
    """``#(path op value)``: the first element that matches. An empty path is the element itself, if it is a scalar."""

    path: Path | None
    accepts: Callable[[Json], bool]

    def matching(self, value: list[Json]) -> Iterator[int]:
        """The indexes of the elements that match."""
        for index, element in enumerate(value):
            composite = isinstance(element, dict | list)
            if self.path is not None:
                found = self.path.get(element) if composite else MISSING
            else:
                found = MISSING if composite else element
            if (composite or self.path is None) and self.accepts(found):
                yield index

    def find(self, value: Json, rest: tuple[Step, ...]) -> Json:
        if isinstance(value, list):
            for index in self.matching(value):
                return follow(value[index], rest)
        return MISSING


@dataclass(frozen=True)
class QueryAll:
    """``#(path op value)#``: all elements that match, or what a path finds in them."""

    query: Query
    path: Path | None

    def find(self, value: Json, rest: tuple[Step, ...]) -> Json:
        if not isinstance(value, list):
            return MISSING
        found = [value[index] for index in self.query.matching(value)]
        if self.path is not None:
            found = [v for e in found if (v := self.path.get(e)) is not MISSING]
        return follow(found, rest)


@dataclass(frozen=True)
class Modifier:
    """``@name:argument``. The result is missing if its input is."""

    apply: Callable[[Json], Json]

    def find(self, value: Json, rest: tuple[Step, ...]) -> Json:
        return follow(MISSING if value is MISSING else self.apply(value), rest)


@dataclass(frozen=True)
class Literal:
    """``!json``: a value that stands in the path itself."""

    value: Json

    def find(self, value: Json, rest: tuple[Step, ...]) -> Json:
        return follow(self.value, rest)


@dataclass(frozen=True)
class Multipath:
    """``[a,b]`` or ``{"x":a,b}``: a new document of what the paths find. Missing if its input is."""

    names: tuple[str, ...] | None  # None for an array
    paths: tuple[Path, ...]

    def find(self, value: Json, rest: tuple[Step, ...]) -> Json:
        if value is MISSING:
            return MISSING
        found = [path.get(value) for path in self.paths]
        if self.names is None:
            return follow([v for v in found if v is not MISSING], rest)
        return follow({n: v for n, v in zip(self.names, found, strict=True) if v is not MISSING}, rest)


@dataclass(frozen=True)
class Path:
    """A compiled path. Stages are separated by ``|``; each works on the whole result of the previous one."""

    source: str
    stages: tuple[tuple[Step, ...], ...]

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys that it begins with."""
        return tuple(itertools.takewhile(lambda step: isinstance(step, Key), self.stages[0]))  # type: ignore[arg-type]

    def get(self, value: Json) -> Json:
        """What the path finds in decoded JSON, or `MISSING`."""
        for stage in self.stages:
            value = follow(value, stage)
        return value


def text(value: Json) -> str:
    """A value as gjson's ``String()``: strings as they are, null is "", objects and arrays are compact JSON."""
    match value:
        case str():
            return value
        case None | Missing.MISSING:
            return ""
        case True:
            return "true"
        case False:
            return "false"
        case int():
            return str(value)
        case float():
            digits = format(Decimal(repr(value)), "f")
            return digits.rstrip("0").rstrip(".") if "." in digits else digits
        case _:
            return msgspec.json.encode(value).decode()
