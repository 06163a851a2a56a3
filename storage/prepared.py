"""Events with the work done that a commit of theirs takes, so that it can be done while another is under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, overload

from kubecdc.storage.contracts.event import Event

T = TypeVar("T")


class Prepared(Sequence[Event], Generic[T]):
    """The events, and what a back end made of them for their commit."""

    def __init__(self, events: Sequence[Event], form: T) -> None:
        self._events = events
        self.form = form

    @overload
    def __getitem__(self, index: int) -> Event: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...

    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self._events[index]

    def __len__(self) -> int:
        return len(self._events)
