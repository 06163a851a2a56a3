"""Comparison of two servers' answers, where versions, uids, times and tokens differ from run to run.

Versions keep their relations (equal stays equal, older stays older); the rest is replaced by placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

COMPARED_HEADERS = ("content-type", "content-encoding", "retry-after", "warning")
_PLACEHOLDERS = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "UID"),
    (re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\beyJ[A-Za-z0-9_=-]+"), "CONTINUE_TOKEN"),
    (re.compile(r"^go1\.\d+(\.\d+)?$"), "GO_VERSION"),
    (re.compile(r"\bgen-[a-z0-9]{5}\b"), "GENERATED"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "ADDRESS"),
)
_VERSIONS_IN_TEXT = re.compile(
    r"(?<=too old resource version: )\d+|(?<=\d \()\d+(?=\)$)"
    r"|(?<=Too large resource version: )\d+|(?<=current: )\d+|(?<=in record \()\d+(?=\))"
    r'|(?<=resourceVersion\\":\\")\d+'
    r"|(?<=[?&]resourceVersion=)[1-9]\d*|(?<=@)\d+$"
)


class Difference(AssertionError):
    """The server answered otherwise than the recorded one."""


class Versions:
    """Recorded resourceVersions and the replayed ones they stand for; the order must be the same.

    A real server and its controllers write by themselves. So where no object's version is told but how far the server
    has come (a ``head``: of lists, bookmarks and some messages), it may be further than the last change.
    """

    def __init__(self) -> None:
        self._pairs: dict[int, int] = {}
        self._heads: list[tuple[int, int]] = []

    def relate(self, recorded: str, replayed: str, where: str, *, head: bool = False) -> None:
        old, new = int(recorded), int(replayed)
        if head and self._pairs.get(old) != new:
            wrong = [(o, n) for o, n in self._pairs.items() if (o <= old and n > new) or (o > old and n < new)]
            if wrong:
                raise Difference(f"{where}: {old} -> {new} breaks the order of {dict(wrong)}")
            self._heads.append((old, new))
        elif not head:
            self._exactly(old, new, where)

    def _exactly(self, old: int, new: int, where: str) -> None:
        if self._pairs.setdefault(old, new) != new:
            raise Difference(f"{where}: version {old} stood for {self._pairs[old]}, now for {new}")
        in_order = [v for _, v in sorted(self._pairs.items())]
        heads = [(o, n) for o, n in self._heads if (o < old and n > new) or (o > old and n < new)]
        if in_order != sorted(set(in_order)) or heads:
            del self._pairs[old]
            raise Difference(f"{where}: {old} -> {new} breaks the order of {dict(sorted(self._pairs.items()))} {heads}")


def brief_list(body: Any) -> Any:
    """A list with ``name@version`` for each item, as long lists were recorded."""
    if isinstance(body, dict) and "items" in body:
        items = [f"{i['metadata']['name']}@{i['metadata']['resourceVersion']}" for i in body["items"]]
        return {**body, "items": items}
    return body


def brief_event(event: Any) -> Any:
    """A watch event with the parts that were recorded."""
    if event.get("type") not in {"ADDED", "MODIFIED", "DELETED"}:
        return event
    body = event["object"]
    shown = ("name", "resourceVersion", "generation", "labels", "deletionTimestamp", "finalizers")
    metadata = {k: body["metadata"][k] for k in shown if k in body["metadata"]}
    return {"type": event["type"], "object": {"kind": body["kind"], "metadata": metadata, "spec": body.get("spec")}}


def _by_manager(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(entries, key=lambda e: (e["manager"], e["operation"], e.get("subresource", "")))


class Comparison:
    """Compares answers one after another; the versions of all of them must fit together."""

    def __init__(self) -> None:
        self._versions = Versions()

    def head(self, recorded: Any, status: int, headers: Mapping[str, str], where: str) -> None:
        """Status and headers; ``recorded`` has both."""
        if status != recorded["status"]:
            raise Difference(f"{where}: status {status}, recorded {recorded['status']}")
        before = {k.lower(): v for k, v in recorded["headers"].items()}
        for name in COMPARED_HEADERS:
            if headers.get(name) != before.get(name):
                raise Difference(f"{where}: header {name} {headers.get(name)!r}, recorded {before.get(name)!r}")

    def compare(self, recorded: Any, replayed: Any, where: str) -> None:
        """Bodies, or parts of them. Raises Difference, which says where."""
        match recorded, replayed:
            case dict(), dict():
                if recorded.keys() != replayed.keys():
                    raise Difference(f"{where}: fields {sorted(replayed)}, recorded {sorted(recorded)}")
                for key, value in recorded.items():
                    if key == "resourceVersion" and str(value).isdecimal():
                        head = "name" not in recorded
                        self._versions.relate(value, replayed[key], f"{where}.{key}", head=head)
                    elif key == "managedFields":
                        # In a stored object they are sorted by time first, to the second.
                        self.compare(_by_manager(value), _by_manager(replayed[key]), f"{where}.{key}")
                    else:
                        self.compare(value, replayed[key], f"{where}.{key}")
            case list(), list():
                if len(recorded) != len(replayed):
                    raise Difference(
                        f"{where}: {len(replayed)} entries, recorded {len(recorded)}:\n{replayed}\n{recorded}"
                    )
                for i, (old, new) in enumerate(zip(recorded, replayed, strict=True)):
                    self.compare(old, new, f"{where}[{i}]")
            case str(), str():
                self.text(recorded, replayed, where)
            case _:
                if recorded != replayed:
                    raise Difference(f"{where}: {replayed!r}, recorded {recorded!r}")

    def text(self, recorded: str, replayed: str, where: str) -> None:
        """Texts; versions that messages name count as versions."""
        before, after = _VERSIONS_IN_TEXT.findall(recorded), _VERSIONS_IN_TEXT.findall(replayed)
        if len(before) == len(after):
            for old, new in zip(before, after, strict=True):
                self._versions.relate(old, new, where, head=old != recorded.rpartition("@")[2])
        old, new = (_VERSIONS_IN_TEXT.sub("VERSION", text) for text in (recorded, replayed))
        for pattern, placeholder in _PLACEHOLDERS:
            old, new = pattern.sub(placeholder, old), pattern.sub(placeholder, new)
        if old != new:
            raise Difference(f"{where}: {new!r}, recorded {old!r}")
