"""Namespaces that a selector finds, for tests on a `Rig`."""

from __future__ import annotations

from tests.apiserver import NAMESPACES
from tests.watcher.rig import Rig, event_source

PROD = event_source(namespaceSelector={"matchLabels": {"env": "prod"}})


async def namespace(bench: Rig, name: str, env: str = "") -> None:
    labels = {"env": env} if env else {}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await bench.api.create(*NAMESPACES, "", body)


async def relabel(bench: Rig, name: str, env: str | None) -> None:
    await bench.api.patch(*NAMESPACES, "", name, {"metadata": {"labels": {"env": env}}})


async def keys(bench: Rig, *expected: str) -> None:
    """Wait until these checkpoints, and no others, have been made and are past their first list."""

    async def there() -> bool:
        states = {c.key: c.state for c in await (await bench.open()).checkpoints.checkpoints() if c.state}
        return sorted(states) == sorted(expected) and not any(s.listing for s in states.values())

    await bench.until(there)
