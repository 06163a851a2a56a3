"""The fields that manifests may have: what an unknown one may be meant to be, and the models on the way to a field."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from kubecdc.manifest.finding import Location
from kubecdc.manifest.model import Manifest, Model

NO_FIELD = "is not a field"
_LEVELS = {1: "one level", 2: "two levels", 3: "three levels"}


def nearest(name: str, names: Iterable[str]) -> str:
    """The most similar name, "" if none is similar."""
    by_case = {candidate.lower(): candidate for candidate in names}
    match = difflib.get_close_matches(name.lower(), by_case, n=1, cutoff=0.6)
    return by_case[match[0]] if match else ""


def unknown_field(model: type[Manifest], content: dict[str, Any], location: Location) -> tuple[str, str, str]:
    """Message, hint and intended field for a field that is unsupported, misplaced, misspelled or unknown."""
    name = str(location[-1])
    chain = list(models_on(model, location[:-1]))
    here = chain[-1][0]
    if name in here.unsupported:
        return here.unsupported[name], "", ""
    if name in here.hints:
        return NO_FIELD, here.hints[name], here.renamed.get(name, "")
    for owner, depth in reversed(chain[:-1]):
        if name in _names(owner):
            levels = sum(isinstance(part, str) for part in location[depth:-1])
            up = _LEVELS.get(levels, f"{levels} levels")
            return "is not a field here", f"it belongs {up} up, beside `{location[depth]}`", ""
    raw: Any = content
    for part in location[:-1]:
        raw = raw[part]
    if inner := _inner(here, name, raw):
        return "is not a field here", f"it belongs inside {inner}", ""
    if near := here.renamed.get(name) or nearest(name, _names(here)):
        refused = here.unsupported.get(near)
        hint = f"did you mean `{near}`?" + (f" But {refused}" if refused else "")
        may_be_type = near in here.type_fields
    else:
        hint = f"the fields here are {', '.join(sorted(here.field_types()))}."
        may_be_type = True
    if may_be_type and here.type_fields and not any(field in raw for field in here.type_fields):
        hint += f" If `{name}` is a type from another package, install the package"
    return NO_FIELD, hint.removesuffix("."), near


def _names(model: type[Model]) -> list[str]:
    return [*model.field_types(), *model.unsupported, *model.ignored]


def models_on(model: type[Model], location: Location) -> Iterator[tuple[type[Model], int]]:
    """The models on the path to a location, each with its depth."""
    yield model, 0
    current: Any = model
    for depth, part in enumerate(location, 1):
        current = _field(current, part)
        if isinstance(current, type) and issubclass(current, Model):
            yield current, depth


def _field(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return bare(annotation.field_types().get(str(part)))
    arguments = typing.get_args(annotation)
    return bare(arguments[-1] if isinstance(part, str) else arguments[0]) if arguments else None


def bare(annotation: Any) -> Any:
    """The annotation of a field without Annotated and None."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (typing.Union, types.UnionType):
            annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
        else:
            return annotation


def _inner(model: type[Model], name: str, raw: Any) -> str:
    """The path to a field of this name below a model, for a message, or "". Fields that the manifest has come first."""
    level: list[tuple[str, type[Model], Any]] = [("", model, raw)]
    while level:
        deeper: list[tuple[str, type[Model], Any]] = []
        for path, owner, content in level:
            for field, annotation in owner.field_types().items():
                child, entry = _child(annotation)
                if child is None:
                    continue
                inside = content.get(field) if isinstance(content, dict) else None
                deeper.append((f"{path}.{field}{entry}".lstrip("."), child, None if entry else inside))
        deeper.sort(key=lambda found: found[2] is None)
        for path, owner, _ in deeper:
            if name in owner.field_types():
                return f"`{path}`"
        level = deeper
    return ""


def _child(annotation: Any) -> tuple[type[Model] | None, str]:
    inside = bare(annotation)
    origin = typing.get_origin(inside)
    entry = "[]" if origin is tuple else ".<name>" if origin is dict else ""
    if entry:
        inside = bare(typing.get_args(inside)[0 if entry == "[]" else -1])
    return (inside, entry) if isinstance(inside, type) and issubclass(inside, Model) else (None, "")
