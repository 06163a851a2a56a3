"""Setting a value at an sjson path. A document is not changed in place: the result is a new one."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kubecdc.jsonpath import parse
from kubecdc.jsonpath.read import MISSING, Each, Key, Query, QueryAll, Step, Wildcard

LARGEST_INDEX = 65_535  # an array is padded with null up to the index
_COMPLEX = frozenset("|#@*?")


@dataclass(frozen=True)
class Part:
    """A key or an index of a plain path."""

    key: str
    forced: bool  # written `:1`: an object key, though it is a number

    @functools.cached_property
    def index(self) -> int | None:
        """The index of the existing element that it addresses."""
        return int(self.key) if self.key.isascii() and self.key.isdigit() else None

    @functools.cached_property
    def is_index(self) -> bool:
        """Whether it creates an array if there is nothing."""
        return self.index is not None and not self.forced

    @property
    def appends(self) -> bool:
        return self.key == "-1" and not self.forced


@dataclass(frozen=True)
class Target:
    """A compiled destination: a plain path, or a path that replaces every match and adds nothing."""

    source: str
    parts: tuple[Part, ...]
    steps: tuple[Step, ...]

    def set(self, document: Any, value: Any) -> Any:
        """The document with the value. Raises ValueError for a key in an array."""
        if not self.steps:
            return _put(document, self.parts, value)
        written = _written(document, self.steps, value)
        return document if written is MISSING else written


def set_path(document: Any, path: str, value: Any) -> Any:
    """`compile_target` and `Target.set` in one."""
    return compile_target(path).set(document, value)


@functools.lru_cache(maxsize=4096)
def compile_target(path: str) -> Target:
    """Compile a destination. Raises ValueError with the reason."""
    if not path:
        raise ValueError("the path is empty")
    parse.require_bounds(path)
    parts = _parts(path)
    if parts is not None:
        return Target(path, parts, ())
    compiled = parse.compile(path)
    if len(compiled.stages) > 1 or not _writable(compiled.stages[0]):
        raise ValueError(f"{path!r} cannot be written to: it has a pipe, a modifier, a length or a multipath")
    return Target(path, (), compiled.stages[0])


def _writable(steps: tuple[Step, ...]) -> bool:
    for step in steps:
        sub = step.path if isinstance(step, Each | QueryAll) else None
        if sub is not None and (len(sub.stages) > 1 or not _writable(sub.stages[0])):
            return False
        if not isinstance(step, Key | Wildcard | Each | Query | QueryAll):
            return False
    return True


def _parts(path: str) -> tuple[Part, ...] | None:
    """The parts of a plain path, None if it has one of the characters that make it complex."""
    parts: list[Part] = []
    key, forced, start = "", False, True
    characters = iter(path + ".")
    for character in characters:
        if start and character == ":":
            forced, start = True, False
            continue
        start = False
        if character in _COMPLEX:
            return None
        if character == "\\":
            key += next(characters, "")
        elif character == ".":
            if not key:
                raise ValueError(f"{path!r} has an empty part")
            parts.append(Part(key, forced))
            if parts[-1].is_index and int(key) > LARGEST_INDEX:
                raise ValueError(f"the index {key} is above {LARGEST_INDEX}; write `:{key}` for an object key")
            key, forced, start = "", False, True
        else:
            key += character
    return tuple(parts)


def _put(document: Any, parts: tuple[Part, ...], value: Any) -> Any:
    if not parts:
        return value
    part, rest = parts[0], parts[1:]
    if isinstance(document, dict):
        return {**document, part.key: _put(document.get(part.key), rest, value)}
    if not isinstance(document, list):
        return _new(part, rest, value)
    if part.index is not None and part.index < len(document):
        return [*document[: part.index], _put(document[part.index], rest, value), *document[part.index + 1 :]]
    if part.is_index:
        return [*document, *[None] * ((part.index or 0) - len(document)), _put(None, rest, value)]
    if part.appends:
        return [*document, _put(None, rest, value)]
    raise ValueError(f"`{part.key}` is not an index, but there is an array")


def _new(part: Part, rest: tuple[Part, ...], value: Any) -> Any:
    inner = _put(None, rest, value)
    if part.is_index:
        return [*[None] * (part.index or 0), inner]
    return [inner] if part.appends else {part.key: inner}


def _written(found: Any, steps: tuple[Step, ...], value: Any) -> Any:
    """What was found, with the value at each place to which the steps lead; MISSING if they lead to none.

    Each object and array is copied once, however many places it has.
    """
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    children: Iterable[str | int] = ()
    if isinstance(found, dict):
        if isinstance(step, Key) and step.name in found:
            children = (step.name,)
        elif isinstance(step, Wildcard):
            children = (name for name in found if step.matches(name))
    elif isinstance(found, list):
        match step:
            case Key(index=int(index)):
                children = range(index, min(index + 1, len(found)))
            case Each(path=path):
                children, rest = range(len(found)), path.stages[0]
            case Query():
                children = itertools.islice(step.matching(found), 1)
            case QueryAll(query=query, path=path):
                children, rest = query.matching(found), path.stages[0] if path else ()
    written: Any = MISSING
    for child in children:
        inner = _written(found[child], rest, value)
        if inner is MISSING:
            continue
        if written is MISSING:
            written = found.copy()
        written[child] = inner
        if isinstance(step, Wildcard):
            break  # the first that has the rest, as in reading
    return written
