"""Structural schemas of custom resources: unknown fields are dropped, types and required fields are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.apiserver.errors import Cause

Schema = Mapping[str, Any]

_SIMULATED = {
    "type",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "nullable",
    "description",
    "title",
    "example",
    "externalDocs",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-embedded-resource",
}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def beyond(schema: Schema) -> str | None:
    """A keyword of the schema that is not simulated; None if it is simulated in full."""
    for keyword, value in schema.items():
        if keyword not in _SIMULATED:
            return keyword
        below: list[Any] = []
        if keyword == "properties":
            below = list(value.values())
        elif keyword in {"items", "additionalProperties"} and isinstance(value, dict):
            below = [value]
        for inner in below:
            if found := beyond(inner):
                return found
    return None


def prune(value: Any, schema: Schema, path: str = "") -> list[str]:
    """Drop what the schema does not know, in place; the paths of what was dropped."""
    dropped: list[str] = []
    if isinstance(value, dict):
        known = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        for key in list(value):
            at = f"{path}.{key}" if path else key
            if key in known:
                dropped += prune(value[key], known[key], at)
            elif isinstance(extra, dict):
                dropped += prune(value[key], extra, at)
            elif extra or schema.get("x-kubernetes-preserve-unknown-fields"):
                continue
            elif path or key not in {"apiVersion", "kind", "metadata"}:
                del value[key]
                dropped.append(at)
    elif isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        for i, item in enumerate(value):
            dropped += prune(item, items, f"{path}[{i}]")
    return dropped


def _type_of(value: Any) -> str:
    for name in ("boolean", "integer", "number", "string", "array", "object"):
        if isinstance(value, _TYPES[name]):
            return name
    return "null"


def check(value: Any, schema: Schema, path: str = "") -> list[Cause]:
    """What is wrong with a value."""
    if value is None and schema.get("nullable"):
        return []
    if schema.get("x-kubernetes-int-or-string"):
        wanted: str | None = None
        if _type_of(value) not in {"integer", "string"}:
            return [Cause.wrong_type(path, _type_of(value), "integer,string")]
    else:
        wanted = schema.get("type")
    found = _type_of(value)
    if wanted and found != wanted and not (wanted == "number" and found == "integer"):
        return [Cause.wrong_type(path, found, wanted)]
    causes: list[Cause] = []
    if isinstance(value, dict):
        missing = [key for key in schema.get("required") or () if key not in value]
        causes += [Cause.required(f"{path}.{key}" if path else key) for key in missing]
        known, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        for key, inner in value.items():
            below = known.get(key) or (extra if isinstance(extra, dict) else None)
            if below is not None and (path or key not in {"apiVersion", "kind", "metadata"}):
                causes += check(inner, below, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        for i, inner in enumerate(value):
            causes += check(inner, items, f"{path}[{i}]")
    return causes
