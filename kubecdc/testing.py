"""Events and contexts for tests of handlers of a ``function`` trigger, without a bus. See docs/function.md.

with pytest.raises(Discard):
    on_failed(event("UPDATE", workflow), context(), channel="builds")
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from kubecdc.function import Context, Event

__all__ = ["context", "event"]


def event(
    action: str = "ADD",
    body: Mapping[str, Any] | None = None,
    *,
    old_body: Mapping[str, Any] | None = None,
    **more: Any,
) -> Event:
    """An event as a handler gets it: ``body`` is the object, by default a ConfigMap named ``example``.

    ``more`` are attributes of the event (``synthetic=True``) that are to be others than the usual.
    """
    metadata = {"name": "example", "namespace": "default", "uid": "uid", "resourceVersion": "1"}
    default = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    whole = dict(default if body is None else body)
    metadata = whole.get("metadata", {})
    version = str(metadata.get("resourceVersion", "1"))
    given: dict[str, Any] = {
        "id": f"changed.{metadata.get('uid', 'uid')}.{version}.{action}",
        "source": "example",
        "subject": "changed",
        "type": "resource",
        "time": "2026-01-01T00:00:00.000000Z",
        "partitionkey": f"configmaps./{metadata.get('namespace', '')}/{metadata.get('name', '')}",
        "sequence": version.zfill(20),
        "epoch": 1,
        "raw": msgspec.json.encode({"type": action, "body": whole, "oldBody": old_body}),
        **more,
    }
    return Event(**given)


def context(*, attempt: int = 1, timeout: float = 60.0, **more: Any) -> Context:
    """A context as a handler gets it, with ``timeout`` seconds until its deadline.

    ``more`` are fields of the context that are to be others than the usual.
    """
    given: dict[str, Any] = {
        "sensor": "example",
        "trigger": "example",
        "idempotency_key": "example/changed.uid.1.ADD/example/example",
        "attempt": attempt,
        "deadline": time.monotonic() + timeout,
        "logger": structlog.get_logger(),
        **more,
    }
    return Context(**given)
