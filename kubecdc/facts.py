"""What a process alone knows of its work, read when it reports to the bus: `kubecdc status` shows it.

Whoever knows a fact registers a function once. It costs nothing until a report is made, in the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import msgspec

from kubecdc.reasons import one_line

MOST = 300  # characters of a reason
T = TypeVar("T")


class Trouble(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wrong, since when (Unix time), and what to do about it. ``error`` is the name of a class of errors."""

    reason: str
    since: float
    hint: str = ""
    error: str = ""

    @classmethod
    def of(cls, error: Exception, since: float) -> Trouble:
        """An error as a trouble."""
        reason, hint = (one_line(text, MOST) for text in (str(error), str(getattr(error, "hint", ""))))
        return cls(reason, since, hint, type(error).__name__)


class Audit(msgspec.Struct, frozen=True):
    """The last audit of a watch. ``time`` is Unix time."""

    result: str
    time: float


class Watch(msgspec.Struct, frozen=True, omit_defaults=True):
    """A watch: the seconds that it is behind, and the events committed by this process."""

    behind: float = 0.0
    events: float = 0
    audit: Audit | None = None


class Trigger(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trigger in this process: deliveries done, why its last attempt has failed, why its breaker is open.

    ``paused``: its manifest pauses it. ``locked``: its events wait for the key that they are encrypted with.
    """

    done: float = 0
    failed: Trouble | None = None
    breaker: Trouble | None = None
    paused: bool = False
    locked: Trouble | None = None


class Register(Generic[T]):
    """Facts of one kind, by the name of what they are about."""

    def __init__(self) -> None:
        self._tables: list[Callable[[], Mapping[str, T]]] = []

    def read(self, name: str, read: Callable[[], T | None]) -> Callable[[], None]:
        """Report what ``read`` returns, unless it is None. Returns what ends that."""

        def table() -> Mapping[str, T]:
            found = read()
            return {} if found is None else {name: found}

        return self.read_all(table)

    def read_all(self, table: Callable[[], Mapping[str, T]]) -> Callable[[], None]:
        """Report what ``table`` returns, by name. Returns what ends that."""
        self._tables.append(table)
        return lambda: self._tables.remove(table)

    def now(self) -> dict[str, T]:
        """All facts as they are now."""
        found: dict[str, T] = {}
        for table in self._tables:
            found |= table()
        return found


watches: Register[Watch] = Register()
"""By the key of the checkpoint."""
triggers: Register[Trigger] = Register()
"""By subscription."""
troubles: Register[Trouble] = Register()
"""By what has it: a watch, an entry, or something of the whole process, such as its manifests or its lease."""
