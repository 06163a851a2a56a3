"""Leadership: the one process that watches for a bus."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Term:
    """A period of leadership. ``number`` is the epoch, which only grows; ``holder`` names the process in logs."""

    number: int
    holder: str


class Elector(Protocol):
    """Elects the leader."""

    def lead(self) -> AbstractAsyncContextManager[Term]:
        """Wait until this process leads; leave the block to hand over. The term is newer than every earlier one.

        An elector that can lose the lead cancels the block when that happens, and raises LeadershipLost.
        """
        ...
