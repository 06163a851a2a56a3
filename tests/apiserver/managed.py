"""metadata.managedFields: who set which field, kept for updates and enforced for server-side apply.

Rules: sigs.k8s.io/structured-merge-diff (merge/update.go) and k8s.io/apimachinery pkg/util/managedfields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.apiserver.fields import (
    Body,
    Path,
    Paths,
    applied_fields,
    compare,
    decode_fields,
    encode_fields,
    in_order,
    merged,
    shown,
    without,
)

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes, how, and when (RFC 3339)."""

    name: str
    now: str
    operation: str = "Update"
    subresource: str = ""

    def is_of(self, entry: Entry) -> bool:
        key = (entry["manager"], entry["operation"], entry.get("subresource", ""))
        return key == (self.name, self.operation, self.subresource)


class FieldsConflict(Exception):
    """Fields that were applied belong to others."""

    def __init__(self, conflicts: list[tuple[Entry, Path]]) -> None:
        super().__init__(conflicts)
        self.conflicts = conflicts

    @property
    def causes(self) -> list[Entry]:
        """As ``details.causes`` of the answer."""
        return [
            {"reason": "FieldManagerConflict", "message": f"conflict with {_shown(entry)}", "field": shown(path)}
            for entry, path in self.conflicts
        ]

    @property
    def message(self) -> str:
        count = len(self.conflicts)
        if count == 1:
            entry, path = self.conflicts[0]
            return f"Apply failed with 1 conflict: conflict with {_shown(entry)}: {shown(path)}"
        by_manager: dict[str, list[str]] = {}
        for entry, path in self.conflicts:
            by_manager.setdefault(_shown(entry), []).append(f"- {shown(path)}")
        lines = [line for who in sorted(by_manager) for line in (f"conflicts with {who}:", *by_manager[who])]
        return f"Apply failed with {count} conflicts: " + "\n".join(lines)


def _shown(entry: Entry) -> str:
    text = f'"{entry["manager"]}"'
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    return text + (f" using {entry['apiVersion']}" if entry["operation"] == "Update" else "")


def _owned(entry: Entry) -> Paths:
    return frozenset(decode_fields(entry["fieldsV1"]))


def _with(entry: Entry, owned: Paths) -> list[Entry]:
    return [{**entry, "fieldsV1": encode_fields(owned)}] if owned else []


def _entry(api_version: str, manager: Manager, owned: Paths, stamp: str) -> list[Entry]:
    entry = {
        "apiVersion": api_version,
        "fieldsType": "FieldsV1",
        "manager": manager.name,
        "operation": manager.operation,
        **({"time": stamp} if stamp else {}),
    }
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return _with(entry, owned)


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda e: (e["operation"], e.get("time", ""), e["manager"], e.get("subresource", "")))


def _split(entries: list[Entry], manager: Manager) -> tuple[Entry | None, list[Entry]]:
    mine = next((e for e in entries if manager.is_of(e)), None)
    return mine, [e for e in entries if e is not mine]


def managed_after_update(old: Body | None, new: Body, manager: Manager) -> list[Entry]:
    """The managedFields of ``new`` after an update of ``old`` (None: creation). Clients may edit the entries."""
    before = (old or {}).get("metadata", {}).get("managedFields") or []
    given = (not manager.subresource and new["metadata"].get("managedFields")) or before
    if old is not None and not given:
        return []  # nobody kept track so far, and an update does not begin to
    mine, others = _split([] if given == [{}] else given, manager)
    changes = compare(old or {}, new)
    kept = [e for other in others for e in _with(other, _owned(other) - changes.gained - changes.removed)]
    own = (_owned(mine) - changes.removed if mine else frozenset()) | changes.gained
    stamp = manager.now if mine is None or changes.gained else mine.get("time", "")
    return _sorted([*kept, *_entry(new["apiVersion"], manager, own, stamp)])


def without_structs(entries: list[Entry]) -> list[Entry]:
    """The entries of a built-in kind: its spec and status are there always, so nobody owns them as such."""
    return [e for entry in entries for e in _with(entry, _owned(entry) - {("f:spec",), ("f:status",)})]


def _untracked(live: Body, now: str) -> list[Entry]:
    """Of an object that nobody kept track of, everything belongs to a manager made up for it."""
    before = Manager("before-first-apply", now)
    return _entry(live["apiVersion"], before, compare({}, live).gained, now)


def applied(
    live: Body, config: Body, manager: Manager, *, schema: Mapping[str, Any] | None = None, force: bool
) -> Body:
    """``live`` after ``config`` was applied, its managedFields included; FieldsConflict where others own what differs.

    What the manager applied before and does not apply any more is removed, unless somebody else owns it.
    """
    mine, others = _split(live["metadata"].get("managedFields") or _untracked(live, manager.now), manager)
    own, last = applied_fields(config, schema), _owned(mine) if mine else frozenset()
    body: Body = merged(live, config)
    held = {path[:n] for paths in (own, *map(_owned, others)) for path in paths for n in range(1, len(path) + 1)}
    dropped = {path[:n] for path in last for n in range(1, len(path) + 1)} - held - {("f:metadata",)}
    body = without(body, frozenset(dropped))
    changes = compare(live, body)
    conflicts = [(e, path) for e in others for path in in_order(_owned(e) & changes.gained)]
    if conflicts and not force:
        raise FieldsConflict(conflicts)
    kept = [e for other in others for e in _with(other, _owned(other) - changes.gained - changes.removed)]
    # Who applies for the first time what is there already has no time yet.
    stamp = manager.now if changes.gained or changes.removed else (mine or {}).get("time", "")
    body["metadata"] = {
        **body["metadata"],
        "managedFields": _sorted([*kept, *_entry(config["apiVersion"], manager, own, stamp)]),
    }
    return body
