"""The trigger types that are installed."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from kubecdc import plugins
from kubecdc.plugins import Plugins
from kubecdc.workers.triggers.contract import TriggerType

GROUP = "kubecdc.triggers"
RESERVED = frozenset({"name", "conditions", "conditionsReset"})  # fields that every template has
_FIELD = re.compile(r"[a-z][A-Za-z0-9]*")


@cache
def installed() -> Plugins[TriggerType[Any]]:
    """The types by the name of their field, those with the shortest example first: hints name them in this order."""
    found: Plugins[TriggerType[Any]] = plugins.load(GROUP, TriggerType)
    wrong = {name: "a field of a template cannot have this name" for name in found.types if not _usable(name)}
    types = {name: kind for name, kind in found.types.items() if name not in wrong}
    ordered = dict(sorted(types.items(), key=lambda item: (len(item[1].example), item[0])))
    return Plugins(ordered, {**found.broken, **wrong})


def _usable(name: str) -> bool:
    return bool(_FIELD.fullmatch(name)) and name not in RESERVED
