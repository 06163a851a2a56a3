"""Turns the errors of pydantic into messages for the author of a manifest."""

from __future__ import annotations

import copy
import re
from typing import Any

from pydantic import ValidationError

from kubecdc.cli.manifests.fields import NO_FIELD, models_on, nearest, unknown_field
from kubecdc.manifest.finding import Finding, Location, without
from kubecdc.manifest.model import Manifest
from kubecdc.manifest.secrets import ConfigMapKeyRef, KeyRef

_ROUNDS = 5
HIDDEN = "***"
_FIELD = re.compile(r"[A-Za-z]{1,40}")  # what a field may be called; anything else may be a secret
REQUIRED = "is required"


def check(model: type[Manifest], content: dict[str, Any]) -> tuple[Manifest | None, list[Finding]]:
    """Validate a manifest. Returns the manifest without the invalid fields, or None if it is not valid without them.

    So checks across manifests can run even if some fields are invalid.
    """
    found: list[Finding] = []
    removed: list[Location] = []
    rest = content
    for _ in range(_ROUNDS):
        try:
            return model.model_validate(rest), found
        except ValidationError as e:
            errors = e.errors(include_url=False)
        new = [error for error in errors if not any(_related(error["loc"], r) for r in removed)]
        found.extend(_without_echo([_finding(model, content, error) for error in new]))
        rest = copy.deepcopy(rest)
        if [error for error in errors if not _remove(rest, error["loc"])]:
            break
        removed.extend(error["loc"] for error in errors)
    return None, found


def _without_echo(findings: list[Finding]) -> list[Finding]:
    """The findings without "is required" for fields that are only misspelled."""
    misspelled = {(*finding.location[:-1], finding.meant) for finding in findings if finding.meant}
    return [f for f in findings if f.message != REQUIRED or f.location not in misspelled]


def _related(location: Location, removed: Location) -> bool:
    """Whether an error may be only a consequence of a removed field."""
    return location == removed[: len(location)] or removed == location[: len(removed)]


def _remove(content: Any, location: Location) -> bool:
    for part in location[:-1]:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return False
    if location and isinstance(content, dict) and location[-1] in content:
        del content[location[-1]]
        return True
    return False


def _finding(model: type[Manifest], content: dict[str, Any], error: Any) -> Finding:
    location: Location = tuple(part for part in error["loc"] if part != "[key]")
    value, context = error["input"], error.get("ctx", {})
    private = any(owner.private for owner, _ in models_on(model, location))
    match error["type"]:
        case "extra_forbidden":
            message, hint, meant = unknown_field(model, content, location)
            if private and (message, meant) == (NO_FIELD, "") and not _FIELD.fullmatch(str(location[-1])):
                location = (*location[:-1], HIDDEN)
            return Finding(location, message, hint, meant)
        case "missing":
            return Finding(location, REQUIRED)
        case "invalid":
            message = without(value, context["message"]) if private else context["message"]
            return Finding(location, message, context["hint"])
        case "literal_error":
            return Finding(location, *_literal(value, context["expected"], private))
        case "string_too_short":
            return Finding(location, "must not be empty")
        case "greater_than_equal":
            return Finding(location, f"must be at least {context['ge']:.15g}")
        case "less_than_equal":
            return Finding(location, f"must be at most {context['le']:.15g}")
        case "recursion_loop":
            return Finding(location, "refers to itself")
        case "model_type" if context["class_name"] in {KeyRef.__name__, ConfigMapKeyRef.__name__}:
            return Finding(location, "must name an object and a key", "write {name: NAME, key: KEY}")
        case kind if kind in _TYPES:
            return Finding(location, *_type(value, kind, private))
        case _:
            return Finding(location, error["msg"][:1].lower() + error["msg"][1:])


_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
}


def _type(value: Any, kind: str, private: bool) -> tuple[str, str]:
    message = f"must be {_TYPES[kind]}, not {_described(value, private)}"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return message, "put it in quotes" + ("" if private else f': "{_plain(value)}"')
    if kind in ("int_type", "float_type") and isinstance(value, str) and _is_number(value):
        return message, f"write {'it' if private else value} without quotes"
    if kind == "bool_type" and isinstance(value, str) and value.lower() in ("true", "false"):
        return message, f"write {value.lower()} without quotes"
    if kind == "tuple_type":
        return message, "begin each of its entries with `- `"
    return message, ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _described(value: Any, private: bool) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return _plain(value)
        case int() | float():
            return "a number" if private else f"the number {value}"
        case str():
            return "text" if private else f"the text {value!r}" if len(value) <= 40 else "text"
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return f"a {type(value).__name__}"


def _literal(value: Any, expected: str, private: bool) -> tuple[str, str]:
    choices = [choice for choice in expected.replace(" or ", ", ").split(", ") if choice != "''"]
    message = f"must be one of {', '.join(c.strip(chr(39)) for c in choices)}, not {_described(value, private)}"
    near = nearest(value, [c.strip("'") for c in choices]) if isinstance(value, str) and value.isalpha() else ""
    return message, f"did you mean `{near}`?" if near else ""
