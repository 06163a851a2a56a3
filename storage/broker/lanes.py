"""The messages in this process, in lanes: those that were received and are not yet settled or handed back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from kubecdc.storage.broker.contract import Received
from kubecdc.storage.broker.ledger import Tries
from kubecdc.storage.memory import Share

Phase = Literal["waiting", "offered", "out", "gone"]


@dataclass(eq=False)
class Entry:
    """A message in its lane. It is ``offered`` from when it is its turn until it is handed out (``out``).

    ``tries`` is None until it is known. ``repeated``: it was handed out before, here or elsewhere. ``due`` is when
    its turn may come, by the loop's clock.
    """

    message: Received
    tries: Tries | None = None
    repeated: bool = False
    phase: Phase = "waiting"
    due: float = 0.0


class Lane(list[Entry]):
    """The messages of a partitionkey. Only the first one may be offered or out."""

    @property
    def busy(self) -> bool:
        """Whether the first one is offered or handed out."""
        return bool(self) and self[0].phase != "waiting"

    @property
    def not_out(self) -> list[Entry]:
        """Those that are not handed out."""
        return [entry for entry in self if entry.phase != "out"]


class Lanes:
    """All lanes. ``held`` counts what is not handed out; ``share`` counts the bytes of all."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._lanes: dict[str, Lane] = {}
        self.held = 0

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    def of(self, message: Received) -> Lane:
        """The lane of a message; an empty one that is not kept, if there is none."""
        return self._lanes.get(message.lane) or Lane()

    def add(self, message: Received) -> Lane:
        """Put a message into its lane, at its place in the order of publications.

        If it is there already, its claim had lapsed and is ours again: the later one counts.
        """
        lane = self._lanes.setdefault(message.lane, Lane())
        for entry in lane:
            if entry.message.id == message.id:
                entry.message.handle, entry.message.until = message.handle, message.until
                return lane
        at = len(lane)
        while at > lane.busy and message.order and lane[at - 1].message.order > message.order:
            at -= 1
        lane.insert(at, Entry(message, repeated=message.receptions != 1))
        self.held += 1
        self._share.add(len(message.body))
        return lane

    def handed_out(self, entry: Entry) -> None:
        """It was given to the caller."""
        entry.phase = "out"
        self.held -= 1

    def hold(self, entry: Entry, due: float) -> None:
        """Its turn comes again when it is due."""
        if entry.phase == "out":
            self.held += 1
        entry.phase, entry.due = "waiting", due

    def remove(self, entry: Entry) -> Lane:
        """Take it out of its lane, which is returned."""
        lane = self.of(entry.message)
        if entry in lane:
            lane.remove(entry)
            self.held -= entry.phase != "out"
            self._share.remove(len(entry.message.body))
            if not lane:
                self._lanes.pop(entry.message.lane, None)
        entry.phase = "gone"
        return lane
