"""Sets of fields, as managers own them: paths, their notation as FieldsV1, and what differs between two objects.

A path is a tuple of FieldsV1 keys: ``f:name`` (a field), ``v:value`` (an entry of a set), ``k:{"uid":...}`` (an entry
of a keyed list). Lists are one field, except two of the metadata, as for custom resources whose schema says no more.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]
Path = tuple[str, ...]
Paths = frozenset[Path]

_UNTRACKED = {
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
}
_FINALIZERS, _OWNERS = ("f:metadata", "f:finalizers"), ("f:metadata", "f:ownerReferences")
_PARENT = object()


def _entry_key(at: Path, entry: Any) -> str:
    """The key of an entry of one of the two lists whose entries are owned one by one."""
    if at == _FINALIZERS:
        return f"v:{json.dumps(entry)}"
    return f"k:{json.dumps({'uid': entry.get('uid')}, separators=(',', ':'))}"


def _below(at: Path, value: Any) -> Iterable[tuple[str, Any]] | None:
    """What lies below a field; None where the field is owned as a whole."""
    if at in {_FINALIZERS, _OWNERS} and isinstance(value, list):
        return [(_entry_key(at, entry), entry) for entry in value]
    if not isinstance(value, dict) or (at[:2] == _OWNERS and len(at) > 2):
        return None
    if not at:
        return [(f"f:{k}", v) for k, v in value.items() if k not in {"apiVersion", "kind"}]
    if at == ("f:metadata",):
        return [(f"f:{k}", v) for k, v in value.items() if k not in _UNTRACKED and v is not None]
    return [(f"f:{k}", v) for k, v in value.items()]


def _values(at: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """Every field from here on with its value; of a parent _PARENT."""
    below = _below(at, value)
    if at and at != ("f:metadata",):
        yield at, value if below is None else _PARENT
    for key, inner in below or ():
        yield from _values((*at, key), inner)


def applied_fields(body: Body, schema: Mapping[str, Any] | None) -> Paths:
    """The fields that somebody who applies the object owns: of those with something below them only such that the
    schema does not declare. Without a schema every field is taken for a declared one, as those of built-in kinds are.
    """
    found = {path for path, _ in _values((), body)}
    parents = {path[:n] for path in found for n in range(1, len(path))}
    declared = {p for p in parents if schema is None or p[0] == "f:metadata" or _declared(p, schema)}
    return frozenset(found - declared)


def _declared(path: Path, schema: Mapping[str, Any]) -> bool:
    node: Any = schema
    for step in path:
        node = (node.get("properties") or {}).get(step.removeprefix("f:"))
        if not isinstance(node, Mapping):
            return False
    return True


def in_order(paths: Iterable[Path]) -> list[Path]:
    """As the server names them: at each level first what ends there."""
    return sorted(paths, key=lambda p: [(i < len(p) - 1, step) for i, step in enumerate(p)])


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of an object's fields: ``gained`` are new or have a new value."""

    gained: Paths
    removed: Paths


def compare(old: Body, new: Body) -> Comparison:
    before, after = dict(_values((), old)), dict(_values((), new))
    absent = object()
    gained = {path for path, value in after.items() if _differ(before.get(path, absent), value)}
    return Comparison(frozenset(gained), frozenset(before.keys() - after.keys()))


def _differ(one: Any, other: Any) -> bool:
    if one is _PARENT or other is _PARENT:
        return one is not other
    return type(one) is not type(other) or bool(one != other)


def encode_fields(paths: Iterable[Path]) -> Body:
    """As FieldsV1: ``.`` stands for a parent that is owned itself."""
    root: Body = {}
    owned = set(paths)
    for path in owned:
        node = root
        for step in path:
            node = node.setdefault(step, {})
    for path in owned:
        node = root
        for step in path:
            node = node[step]
        if node:
            node["."] = {}
    return root


def decode_fields(fields: Body, at: Path = ()) -> Iterator[Path]:
    """The paths of a FieldsV1."""
    for key, below in fields.items():
        if key == ".":
            yield at
        elif below:
            yield from decode_fields(below, (*at, key))
        else:
            yield (*at, key)


def shown(path: Path) -> str:
    """A path as messages show it: ``.spec.n``."""
    text = ""
    for step in path:
        kind, _, value = step.partition(":")
        if kind == "f":
            text += f".{value}"
        elif kind == "v":
            text += f"[={value}]"
        else:
            keys = ",".join(f"{k}={json.dumps(v)}" for k, v in json.loads(value).items())
            text += f"[{keys}]"
    return text


def merged(live: Any, config: Any, at: Path = ()) -> Any:
    """The live object with what was applied put over it."""
    if at in {_FINALIZERS, _OWNERS} and isinstance(live, list) and isinstance(config, list):
        entries = {_entry_key(at, entry): entry for entry in [*live, *config]}
        return list(entries.values())
    if _below(at, config) is None or not isinstance(live, dict) or not isinstance(config, dict):
        return copy.deepcopy(config)
    result = dict(live)
    for key, value in config.items():
        if at != ("f:metadata",) or key not in _UNTRACKED:
            result[key] = merged(live[key], value, (*at, f"f:{key}")) if key in live else copy.deepcopy(value)
    return result


def without(body: Any, gone: Paths, at: Path = ()) -> Any:
    """The object without some of its fields."""
    if at in {_FINALIZERS, _OWNERS} and isinstance(body, list):
        return [entry for entry in body if (*at, _entry_key(at, entry)) not in gone]
    if not isinstance(body, dict) or not any(path[: len(at)] == at for path in gone):
        return body
    return {k: without(v, gone, (*at, f"f:{k}")) for k, v in body.items() if (*at, f"f:{k}") not in gone}
