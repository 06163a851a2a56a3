"""Reads the documents in files, directories and standard input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import yaml

from kubecdc.cli.manifests.problem import Place, Problem
from kubecdc.manifest.plain_yaml import LARGEST, Loader, likely_cause, reason

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"


@dataclass(frozen=True)
class Document:
    """A parsed document. ``strict``: the user named its file, so it should be one of the three kinds."""

    place: Place
    content: Any
    strict: bool


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
        files = files_in(target)
    except OSError as e:
        return [], [Problem(Place(path), "", f"cannot be read: {e.strerror}")]
    if not files:
        return [], [Problem(Place(path), "", "has no .yaml, .yml or .json file", "subdirectories are not searched")]
    for file in files:
        found, wrong = _read_file(file, strict=False)
        documents.extend(found)
        problems.extend(wrong)
    return documents, problems


def files_in(path: Path) -> list[Path]:
    """The files of manifests in a directory, or the file itself. Raises OSError."""
    if not path.is_dir():
        return [path]
    # Hidden names are skipped: a mounted ConfigMap has its files in `..data`, and links to them in the directory.
    return sorted(f for f in path.iterdir() if f.suffix in SUFFIXES and f.name[0] != "." and not f.is_dir())


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
        if len(digits) > len(str(-LARGEST)) or not -LARGEST <= int(digits) <= LARGEST:
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
    loader = Loader(text)
    number = 0
    try:
        while True:
            place = Place(file, number + 1)
            try:
                if not loader.check_data():  # type: ignore[no-untyped-call]
                    break
                documents.append(Document(place, loader.get_data(), strict))
            except yaml.constructor.ConstructorError as e:
                problems.append(Problem(place, "", f"is not plain YAML: {reason(e)}", likely_cause(e, text)))
            for key, mark in loader.repeated:
                where = f"line {mark.line + 1}, column {mark.column + 1}"
                problems.append(Problem(place, "", f"the key `{key}` occurs twice in one mapping ({where})"))
            loader.repeated.clear()
            number += 1
    except yaml.YAMLError as e:
        problems.append(Problem(Place(file, number + 1), "", f"is not YAML: {reason(e)}", likely_cause(e, text)))
    except RecursionError:
        problems.append(Problem(Place(file, number + 1), "", "is nested too deep"))
    finally:
        loader.dispose()
    return documents, problems
