"""Who led when, by what the watchers say in their logs, held against what was committed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.harness.processes import Processes

EVENTS = frozenset({"lease taken", "epoch raised"})


class Committed(NamedTuple):
    """An event as it stands in its stream. ``seq`` is its place in the order of all commits."""

    seq: int
    partition: int
    id: str
    key: str
    epoch: int


class Taken(NamedTuple):
    """A Lease was taken: the epoch, and by whom (``<host>/<pid>/<chance>``)."""

    time: str
    epoch: int
    holder: str

    @property
    def pid(self) -> int:
        return int(self.holder.rsplit("/", 2)[1])


class _Line(msgspec.Struct):
    event: str = ""
    timestamp: str = ""
    term: int = 0
    holder: str = ""


_line = msgspec.json.Decoder(_Line)


def terms(logs: Iterable[Path]) -> list[Taken]:
    """Every holding of the Lease that watchers have said in their logs, in the order of time."""
    found = []
    for log in logs:
        for text in log.read_bytes().splitlines():
            if any(event.encode() in text for event in EVENTS):
                line = _line.decode(text)
                found.append(Taken(line.timestamp, line.term, line.holder))
    return sorted(found)


def watcher_logs(processes: Processes) -> list[Path]:
    return [processes[name].log for name in processes if name.startswith("watcher")]


def leader(processes: Processes) -> str | None:
    """The running watcher that took the Lease last."""
    for taken in reversed(terms(watcher_logs(processes))):
        for name in processes:
            if processes[name].pid == taken.pid:
                return name if processes[name].running else None
    return None


def quarrels(taken: Sequence[Taken], committed: Sequence[Committed]) -> list[str]:
    """What must not be, where one leads at a time: an epoch that two have had, or that nobody took but somebody
    committed under; commits of an older epoch after those of a newer one; an event that is twice in its stream."""
    holders: dict[int, set[str]] = defaultdict(set)
    for holding in taken:
        holders[holding.epoch].add(holding.holder)
    found = [f"epoch {epoch} was taken by {sorted(who)}" for epoch, who in holders.items() if len(who) > 1]
    last: dict[str, int] = {}
    for holding in taken:
        if holding.epoch <= last.get(holding.holder, 0):
            found.append(f"{holding.holder} took epoch {holding.epoch} after {last[holding.holder]}")
        last[holding.holder] = holding.epoch
    seen: dict[str, Committed] = {}
    newest: Committed | None = None
    for event in sorted(committed):
        if event.epoch not in holders:
            found.append(f"{event} is of an epoch that nobody took")
        if newest and event.epoch < newest.epoch:
            found.append(f"{event} was committed after {newest}")
        else:
            newest = event
        if event.id in seen:
            found.append(f"{event} is the same as {seen[event.id]}")
        seen[event.id] = event
    return found
