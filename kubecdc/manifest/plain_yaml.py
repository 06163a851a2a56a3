"""YAML as Kubernetes reads it: every key is text and occurs once; a time, ``1:30`` and ``=`` are text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Never

import yaml

LARGEST = (1 << 63) - 1  # as in Kubernetes, whose numbers have 64 bits
_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)"),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
MOST_VALUES = 200_000  # of one document, with those of aliases: a few lines of aliases may stand for billions


class Loader(yaml.CSafeLoader):
    """Reads YAML as Kubernetes does. Each of its values is one of JSON, too."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[tuple[str, yaml.Mark]] = []

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError):  # for `0x_`, or `!!int x`
            raise _unreadable(f"this is not a value of type `{node.tag.rpartition(':')[2]}`", node) from None
        if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
            raise _unreadable("this number is too large", node)
        if isinstance(value, float) and not math.isfinite(value):
            raise _unreadable("JSON has no such number", node)
        if isinstance(value, str) and "\0" in value:
            raise _unreadable("this text has a NUL character", node)
        return value

    def construct_undefined(self, node: yaml.Node) -> Never:
        """A tag of somebody else's. Its name is not repeated: it may be a secret that is not in quotes."""
        raise _unreadable("this has a tag that is not known here", node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _unreadable("this is not a mapping", node)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
            if key.tag != _MERGE:
                if key.value in seen:
                    self.repeated.append((key.value, key.start_mark))
                seen.add(key.value)
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}


Loader.add_constructor(None, Loader.construct_undefined)


def _unreadable(what: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _resolvers() -> dict[str, list[tuple[str, Any]]]:
    replaced = {*_NUMBERS, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
    resolvers = {
        first: [(tag, pattern) for tag, pattern in entries if tag not in replaced]
        for first, entries in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    for tag, pattern in _NUMBERS.items():
        for first in "-+.0123456789":
            resolvers.setdefault(first, []).append((tag, re.compile(f"(?:{pattern.pattern})$")))
    return resolvers


Loader.yaml_implicit_resolvers = _resolvers()


def single(text: str) -> Any:
    """The one document in a text of YAML or JSON. Raises ValueError, with the reason in one line."""
    loader = Loader(text)
    try:
        found: list[Any] = []
        while loader.check_data():  # type: ignore[no-untyped-call]
            found.append(loader.get_data())
    except yaml.YAMLError as e:
        raise ValueError(f"it is not plain YAML: {reason(e)}") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    finally:
        loader.dispose()
    if loader.repeated:
        raise ValueError(f"the key `{loader.repeated[0][0]}` occurs twice in one mapping")
    contents = [content for content in found if content is not None]
    if len(contents) != 1:
        raise ValueError("it has several documents" if contents else "it is empty")
    _limit(contents[0])
    return contents[0]


def _limit(content: Any) -> None:
    """Refuse what is much larger than its text, or contains itself."""
    waiting, count = [content], 0
    while waiting:
        value = waiting.pop()
        inside: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting.extend(inside)
        count += 1
        if count + len(waiting) > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES} values")


def reason(error: yaml.YAMLError) -> str:
    """Why a text cannot be read, and where, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{error.problem}{where}"


def likely_cause(error: yaml.YAMLError, text: str) -> str:
    """What to do about a text that cannot be read, "" if nothing is likely."""
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "{{" in line:
        return "it is a template: render it first, for example with `helm template`"
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "it is indented with a tab: YAML allows only spaces"
    return ""
