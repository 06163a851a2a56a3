"""Namespaces that a selector finds, for tests on a `Rig`."""

from __future__ import annotations

from typing import Any

import pytest

from kubecdc.backoff import Backoff
from kubecdc.watcher import recovery
from kubecdc.watcher.capture import checkpoint_writer, diff
from kubecdc.watcher.namespaces import selected
from tests.apiserver import NAMESPACES
from tests.watcher.rig import Rig, event_source

PROD = event_source(namespaceSelector={"matchLabels": {"env": "prod"}})


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, and commits of few objects."""
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(checkpoint_writer, "BLOCKED", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(selected, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(diff, "COMMIT_OBJECTS", 2)


def labelled(name: str, env: str = "") -> dict[str, Any]:
    """A Namespace with that label, or none."""
    labels = {"env": env} if env else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


async def namespace(bench: Rig, name: str, env: str = "") -> None:
    await bench.api.create(*NAMESPACES, "", labelled(name, env))


async def relabel(bench: Rig, name: str, env: str | None) -> None:
    await bench.api.patch(*NAMESPACES, "", name, {"metadata": {"labels": {"env": env}}})


async def keys(bench: Rig, *expected: str) -> None:
    """Wait until these checkpoints, and no others, have been made and are past their first list."""

    async def there() -> bool:
        states = {c.key: c.state for c in await (await bench.open()).checkpoints.checkpoints() if c.state}
        return sorted(states) == sorted(expected) and not any(s.listing for s in states.values())

    await bench.until(there)
