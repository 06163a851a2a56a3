"""The trigger types that are installed."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from kubecdc import plugins
from kubecdc.manifest.model import Model
from kubecdc.plugins import Plugins
from kubecdc.workers.triggers.contract import TriggerType

GROUP = "kubecdc.triggers"
RESERVED = frozenset({"name", "conditions", "conditionsReset"})  # fields that every template has
_FIELD = re.compile(r"[a-z][A-Za-z0-9]*")


@cache
def installed() -> Plugins[TriggerType[Any]]:
    """The types by the name of their field, those with the shortest example first: hints name them in this order."""
    found: Plugins[TriggerType[Any]] = plugins.load(GROUP, TriggerType)
    defects = {name: _defect(name, kind) for name, kind in found.types.items()}
    types = {name: kind for name, kind in found.types.items() if not defects[name]}
    ordered = dict(sorted(types.items(), key=lambda item: (len(item[1].example), item[0])))
    return Plugins(ordered, {**found.broken, **{name: defect for name, defect in defects.items() if defect}})


def _defect(name: str, kind: TriggerType[Any]) -> str:
    """Why a type cannot be used, "" if it can. Without this check, it would make every template unusable."""
    if not _FIELD.fullmatch(name) or name in RESERVED:
        return "a field of a template cannot have this name"
    model, example = getattr(kind, "model", None), getattr(kind, "example", None)
    if not (isinstance(model, type) and issubclass(model, Model)):
        return f"its `model` does not extend {Model.__module__}.{Model.__qualname__}"
    if not isinstance(example, str):
        return "its `example` is not text"
    try:
        model.model_rebuild()
    except Exception as e:  # whatever pydantic says of annotations of somebody else
        return f"its `model` is not complete: {e}".splitlines()[0]
    return ""
