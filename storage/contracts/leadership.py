"""Leadership: which process watches for a bus."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Term:
    """One holding of the lead. ``number`` is the epoch and only grows; ``holder`` is for people."""

    number: int
    holder: str


class Elector(Protocol):
    def lead(self) -> AbstractAsyncContextManager[Term]:
        """Wait until this process leads; leave to hand over. The term is above every earlier one.

        An elector that can lose the lead cancels the block when it does, and raises LeadershipLost.
        """
        ...
