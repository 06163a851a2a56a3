"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902)."""

from __future__ import annotations

import copy
import json
from typing import Any

from tests.apiserver.changes import encode
from tests.apiserver.errors import ApiError, Cause, NotSimulated, bad_request, invalid
from tests.apiserver.schema import Schema, prune

_REJECTED = "the server rejected our request due to an error in our request"


def merge(target: Any, patch: Any) -> Any:
    """The target with the patch merged in; neither is changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def refuse_directives(patch: Any) -> None:
    """A strategic merge patch says with ``$`` keys how lists are merged; taken as a merge patch it would do harm."""
    if isinstance(patch, list):
        for entry in patch:
            refuse_directives(entry)
    elif isinstance(patch, dict):
        for key, value in patch.items():
            if key.startswith("$"):
                raise NotSimulated(f"the directive {key} of a strategic merge patch")
            refuse_directives(value)


def refuse_unknown(patched: dict[str, Any], schema: Schema) -> None:
    """With strict validation, 422 where the patched object has fields that the schema does not know."""
    if unknown := prune(copy.deepcopy(patched), schema):
        why = "strict decoding error: " + ", ".join(f'unknown field "{path}"' for path in sorted(unknown))
        cause = Cause.invalid("patch", json.dumps(encode(patched).decode()), why)
        raise invalid(' ""', {}, [cause])


class _NoSuchPath(Exception):
    pass


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise _NoSuchPath(pointer)
    return [p.replace("~1", "/").replace("~0", "~") for p in pointer.split("/")[1:]]


def _index(sequence: list[Any], step: str, *, adding: bool = False) -> int:
    if adding and step == "-":
        return len(sequence)
    if not step.isdecimal() or int(step) > len(sequence) - (0 if adding else 1):
        raise _NoSuchPath(step)
    return int(step)


def _get(node: Any, pointer: str) -> Any:
    for step in _steps(pointer):
        if isinstance(node, list):
            node = node[_index(node, step)]
        elif isinstance(node, dict) and step in node:
            node = node[step]
        else:
            raise _NoSuchPath(pointer)
    return node


def _parent(document: Any, pointer: str) -> tuple[Any, str]:
    head, _, last = pointer.rpartition("/")
    return _get(document, head), _steps("/" + last)[0]


def _add(document: Any, pointer: str, value: Any) -> None:
    parent, step = _parent(document, pointer)
    if isinstance(parent, list):
        parent.insert(_index(parent, step, adding=True), value)
    elif isinstance(parent, dict):
        parent[step] = value
    else:
        raise _NoSuchPath(pointer)


def _remove(document: Any, pointer: str) -> Any:
    parent, step = _parent(document, pointer)
    if isinstance(parent, list):
        return parent.pop(_index(parent, step))
    if isinstance(parent, dict) and step in parent:
        return parent.pop(step)
    raise _NoSuchPath(pointer)


def apply_json_patch(document: Any, operations: Any) -> Any:
    """The patched document; 422 where an operation cannot be done, as the server says it: without telling which."""
    if not isinstance(operations, list) or not all(isinstance(o, dict) for o in operations):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type jsonpatch.Patch")
    result = copy.deepcopy(document)
    try:
        for operation in operations:
            path = operation["path"]
            match operation["op"]:
                case "add":
                    _add(result, path, operation.get("value"))
                case "remove":
                    _remove(result, path)
                case "replace":
                    _get(result, path)
                    _remove(result, path)
                    _add(result, path, operation.get("value"))
                case "move":
                    _add(result, path, _remove(result, operation["from"]))
                case "copy":
                    _add(result, path, copy.deepcopy(_get(result, operation["from"])))
                case "test":
                    if _get(result, path) != operation.get("value"):
                        raise _NoSuchPath(path)
                case other:
                    raise _NoSuchPath(other)
    except (_NoSuchPath, KeyError):
        raise ApiError(422, "Invalid", _REJECTED, details={}) from None
    return result
