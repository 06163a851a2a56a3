"""Bodies that clients send: decoded and validated in the server's own words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from tests.apiserver import errors
from tests.apiserver.errors import Cause, bad_request
from tests.apiserver.resources import Kind
from tests.apiserver.schema import check
from tests.apiserver.selectors import label_fault, value_fault

Body = dict[str, Any]
CONFIGMAP_LIMIT = 1_048_576
"""Bytes of all values of a ConfigMap together."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_GO_PARSE = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting value": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Extra data": "after top-level value",
}
loads = msgspec.json.Decoder().decode


def json_fault(raw: bytes) -> str:
    """What Go's encoding/json says of bytes that are no JSON object."""
    text = raw.decode("utf-8", "replace")
    try:
        json.loads(text)
    except json.JSONDecodeError as e:
        if e.pos >= len(text.rstrip()) or e.msg.startswith("Unterminated"):
            return "unexpected end of JSON input"
        return f"invalid character '{text[e.pos]}' {_GO_PARSE.get(e.msg, e.msg)}"
    return "json: cannot unmarshal into Go value of type map[string]interface {}"


def _summary(raw: bytes) -> str:
    if not raw:
        return "<empty>"
    head = raw[:30].decode("utf-8", "replace") if raw.startswith(b"{") else raw[:30].hex()
    return head + (" ..." if len(raw) > 30 else "")


def decode(raw: bytes, kind: Kind) -> Body:
    """The object that was sent for a kind; ApiError 400 where it is none."""
    shown = _summary(raw)
    unrecognized = f"the object provided is unrecognized (must be of type {kind.kind}): "
    try:
        body = loads(raw)
    except msgspec.DecodeError:
        body = None
    if not isinstance(body, dict):
        why = f"couldn't get version/kind; json parse error: {json_fault(raw)} ({shown})"
        raise bad_request(unrecognized + why)
    if not body.get("kind"):
        text = raw.decode("utf-8", "replace")
        raise bad_request(f"{unrecognized}Object 'Kind' is missing in '{text}' ({shown})")
    if body.get("apiVersion", "") != kind.api_version:
        raise bad_request(
            f"the API version in the data ({body.get('apiVersion', '')}) does not match the expected API version "
            f"({kind.api_version})"
        )
    if not isinstance(body.setdefault("metadata", {}), dict):
        raise bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: bad metadata')
    return body


def _metadata_fault(metadata: Body) -> str:
    for key in ("labels", "annotations"):
        values = metadata.get(key)
        if isinstance(values, dict):
            for value in values.values():
                if not isinstance(value, str):
                    found = (
                        "bool" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else "object"
                    )
                    return f"json: cannot unmarshal {found} into Go struct field ObjectMeta.{key} of type string"
    return ""


def _name_fault(kind: Kind, name: str) -> str:
    """Names of Roles and bindings need only be a segment of a path (ValidatePathSegmentName of apimachinery)."""
    if kind.group != "rbac.authorization.k8s.io":
        return "" if _NAME.fullmatch(name) and len(name) <= 253 else _NAME_RULE
    if name in {".", ".."}:
        return f"may not be '{name}'"
    return next((f"may not contain '{character}'" for character in "/%" if character in name), "")


def _job_faults(body: Body) -> list[Cause]:
    """What nearly every Job that a test makes up lacks."""
    spec, causes = (body.get("spec") or {}).get("template", {}).get("spec") or {}, []
    if not spec.get("containers"):
        causes.append(Cause.required("spec.template.spec.containers"))
    if spec.get("restartPolicy") not in {"OnFailure", "Never"}:
        causes.append(Cause.required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
    return causes


def _configmap_faults(body: Body) -> list[Cause]:
    size = sum(len(str(v).encode()) for field in ("data", "binaryData") for v in (body.get(field) or {}).values())
    if size <= CONFIGMAP_LIMIT:
        return []
    return [Cause("FieldValueTooLong", "[]", f"Too long: may not be more than {CONFIGMAP_LIMIT} bytes")]


_FAULTS: dict[tuple[str, str], Callable[[Body], list[Cause]]] = {
    ("", "configmaps"): _configmap_faults,
    ("batch", "jobs"): _job_faults,
}
"""The rules of built-in kinds, as far as a test can run into them."""


def validate(kind: Kind, body: Body, before: Body | None = None) -> None:
    """Raise ApiError where the object may not be stored; ``before`` is the metadata of the state it replaces."""
    metadata = body["metadata"]
    if fault := _metadata_fault(metadata):
        shown = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
        raise bad_request(shown + fault)
    name, causes = str(metadata.get("name") or ""), []
    if body["kind"] != kind.kind:
        cause = Cause.invalid("kind", f'"{body["kind"]}"', f"must be {kind.kind}")
        raise errors.invalid_object(kind, name, [cause], kind_name=body["kind"])
    if not name:
        causes.append(Cause.required("metadata.name", "name or generateName is required"))
    elif fault := _name_fault(kind, name):
        causes.append(Cause.invalid("metadata.name", f'"{name}"', fault))
    for key, value in (metadata.get("labels") or {}).items():
        for shown, why in ((key, label_fault(key)), (value, value_fault(value))):
            if why:
                causes.append(Cause.invalid("metadata.labels", f'"{shown}"', why))
    if before and "deletionTimestamp" in before:
        new = [f for f in metadata.get("finalizers") or [] if f not in (before.get("finalizers") or [])]
        if new:
            listed = ", ".join(f'"{f}"' for f in new)
            why = "no new finalizers can be added if the object is being deleted, found new finalizers "
            why += f"[]string{{{listed}}}"
            causes += [Cause.forbidden("metadata.finalizers", why)] * 2
    if kind.schema is not None:
        causes += check(body, kind.schema)
    if faults := _FAULTS.get((kind.group, kind.plural)):
        causes += faults(body)
    if causes:
        raise errors.invalid_object(kind, name, causes)
