"""Objects of one name: one that was deleted, and its successor."""

from __future__ import annotations

from kubecdc.storage.contracts import Inventoried


def uids_by_name(inventory: dict[str, Inventoried]) -> dict[tuple[str, str], list[str]]:
    """The uids of each namespace and name, oldest first."""
    found: dict[tuple[str, str], list[str]] = {}
    for uid, known in inventory.items():
        namesakes = found.setdefault((known.namespace, known.name), [])
        namesakes.append(uid)
        if len(namesakes) > 1:
            namesakes.sort(key=lambda uid: age(inventory[uid]))
    return found


def age(known: Inventoried) -> tuple[int, str]:
    """A key that sorts older objects first."""
    return len(known.resource_version), known.resource_version
