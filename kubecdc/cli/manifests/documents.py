"""Reads the documents in files, directories and standard input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never, TextIO

import yaml

from kubecdc.cli.manifests.problem import Place, Problem

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
_LARGEST = (1 << 63) - 1  # as in Kubernetes, whose numbers have 64 bits
_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)"),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}


@dataclass(frozen=True)
class Document:
    """A parsed document. ``strict``: the user named its file, so it must be one of the three kinds."""

    place: Place
    content: Any
    strict: bool


class _Loader(yaml.CSafeLoader):
    """Reads YAML as Kubernetes does: every key is text and occurs once; a time and ``1:30`` are text."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[tuple[str, yaml.Mark]] = []

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError):  # for `0x_`, or `!!int x`
            raise _unreadable(f"this is not a value of type `{node.tag.rpartition(':')[2]}`", node) from None
        if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
            raise _unreadable("this number is too large", node)
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


_Loader.add_constructor(None, _Loader.construct_undefined)


def _unreadable(what: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _resolvers() -> dict[str, list[tuple[str, Any]]]:
    replaced = {*_NUMBERS, "tag:yaml.org,2002:timestamp"}
    resolvers = {
        first: [(tag, pattern) for tag, pattern in entries if tag not in replaced]
        for first, entries in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    for tag, pattern in _NUMBERS.items():
        for first in "-+.0123456789":
            resolvers.setdefault(first, []).append((tag, re.compile(f"(?:{pattern.pattern})$")))
    return resolvers


_Loader.yaml_implicit_resolvers = _resolvers()


def read(path: str, stdin: TextIO) -> tuple[list[Document], list[Problem]]:
    """All documents in a file, a directory or ``-`` (standard input), and a problem for each that cannot be read."""
    if path == STDIN:
        try:
            text = stdin.read()
        except UnicodeDecodeError as e:
            return [], [Problem(Place("standard input"), "", f"is not UTF-8: {e.reason} at byte {e.start}")]
        return _parse("standard input", text, strict=True)
    target = Path(path)
    if not target.is_dir():
        return _read_file(target, strict=True)
    documents: list[Document] = []
    problems: list[Problem] = []
    try:
        # Hidden names are skipped: a mounted ConfigMap has its files in `..data`, and links to them in the directory.
        files = sorted(f for f in target.iterdir() if f.suffix in SUFFIXES and f.name[0] != "." and not f.is_dir())
    except OSError as e:
        return [], [Problem(Place(path), "", f"cannot be read: {e.strerror}")]
    if not files:
        return [], [Problem(Place(path), "", "has no .yaml, .yml or .json file", "subdirectories are not searched")]
    for file in files:
        found, wrong = _read_file(file, strict=False)
        documents.extend(found)
        problems.extend(wrong)
    return documents, problems


def _read_file(file: Path, *, strict: bool) -> tuple[list[Document], list[Problem]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return [], [Problem(Place(str(file)), "", "does not exist")]
    except OSError as e:
        return [], [Problem(Place(str(file)), "", f"cannot be read: {e.strerror}")]
    except UnicodeDecodeError as e:
        return [], [Problem(Place(str(file)), "", f"is not UTF-8: {e.reason} at byte {e.start}")]
    return _parse(str(file), text, strict=strict)


def _parse(file: str, text: str, *, strict: bool) -> tuple[list[Document], list[Problem]]:
    if file.endswith(".json") or text.lstrip().startswith("{"):
        try:
            return [Document(Place(file, n), content, strict) for n, content in _json(text)], []
        except _Repeated as e:
            return [], [Problem(Place(file), "", f"the key `{e}` occurs twice in one object")]
        except RecursionError:
            return [], [Problem(Place(file), "", "is nested too deep")]
        except ValueError as e:
            if file.endswith(".json"):
                return [], [Problem(Place(file), "", f"is not JSON: {e}")]
    return _yaml(file, text, strict=strict)


class _Repeated(Exception):
    """A key that occurs twice in one object."""


def _json(text: str) -> Iterator[tuple[int, Any]]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            keys = [key for key, _ in pairs]
            raise _Repeated(next(key for key in keys if keys.count(key) > 1))
        return members

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not allowed")

    def number(digits: str) -> int:
        if len(digits) > len(str(-_LARGEST)) or not -_LARGEST <= int(digits) <= _LARGEST:
            raise ValueError("a number is too large")
        return int(digits)

    decoder = json.JSONDecoder(object_pairs_hook=once, parse_constant=refuse, parse_int=number)
    at, count = 0, 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        content, at = decoder.raw_decode(text, at)
        if "\\u0000" in text and _has_nul(content):
            raise ValueError("a text has a NUL character")
        count += 1
        yield count, content


def _has_nul(content: Any) -> bool:
    if isinstance(content, dict):
        return any("\0" in key or _has_nul(value) for key, value in content.items())
    if isinstance(content, list):
        return any(map(_has_nul, content))
    return isinstance(content, str) and "\0" in content


def _yaml(file: str, text: str, *, strict: bool) -> tuple[list[Document], list[Problem]]:
    documents: list[Document] = []
    problems: list[Problem] = []
    loader = _Loader(text)
    number = 0
    try:
        while True:
            place = Place(file, number + 1)
            try:
                if not loader.check_data():  # type: ignore[no-untyped-call]
                    break
                documents.append(Document(place, loader.get_data(), strict))
            except yaml.constructor.ConstructorError as e:
                problems.append(Problem(place, "", f"is not plain YAML: {_reason(e)}"))
            for key, mark in loader.repeated:
                where = f"line {mark.line + 1}, column {mark.column + 1}"
                problems.append(Problem(place, "", f"the key `{key}` occurs twice in one mapping ({where})"))
            loader.repeated.clear()
            number += 1
    except yaml.YAMLError as e:
        problems.append(Problem(Place(file, number + 1), "", f"is not YAML: {_reason(e)}"))
    except RecursionError:
        problems.append(Problem(Place(file, number + 1), "", "is nested too deep"))
    finally:
        loader.dispose()
    return documents, problems


def _reason(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{error.problem}{where}"
