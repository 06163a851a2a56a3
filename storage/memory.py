"""How many bytes of events the subscriptions of this process hold together, read ahead or handed out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

BYTES = 64 << 20  # a delivery takes about four times its size while its trigger runs
FIRST_SIZE = 1 << 20  # of an event, as long as none was seen
MEMORY = 0.9  # how much of the largest size is remembered with each event


class Memory:
    """Memory that open subscriptions share: one half goes to those that need it, the other half is divided evenly.

    So one whose receiver is slow holds up no other. A subscription may always hold one event, whatever its size.
    """

    def __init__(self, limit: int = BYTES) -> None:
        self.limit = limit
        self.held = 0
        self.shares = 0


PROCESS = Memory()


class Share:
    """The bytes that one subscription holds. They count for the others while it is ``opened``.

    ``size`` is about that of the larger events which came lately.
    """

    def __init__(self, memory: Memory = PROCESS) -> None:
        self.held = 0
        self._memory = memory
        self._opened = 0
        self.size = float(FIRST_SIZE)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The subscription is read during the block."""
        self._enter(1)
        try:
            yield
        finally:
            self._enter(-1)

    @property
    def limit(self) -> int:
        """How many bytes it may hold now."""
        half = self._memory.limit // 2
        return max(half - self._memory.held + self.held, half // (self._memory.shares or 1))

    @property
    def room(self) -> int:
        """How many bytes more it may hold; 0 if none."""
        return max(0, self.limit - self.held)

    @property
    def full(self) -> bool:
        """It holds something, and has no room for another event as large as those that came lately."""
        return self.held > 0 and self.limit - self.held < self.size

    @property
    def events(self) -> int:
        """About how many events more it may hold, going by the sizes of those that came lately. At least 1."""
        return max(1, int(self.room / self.size))

    @property
    def own_events(self) -> int:
        """How many of them are within its even share, which no other takes. At least 1."""
        even = self._memory.limit // 2 // (self._memory.shares or 1)
        return max(1, int((even - self.held) / self.size))

    def asked(self, events: int, most: int = BYTES) -> AbstractContextManager[int]:
        """So many events are asked for during the block. Yields how many bytes may come, which are taken meanwhile."""
        return _Asked(self, max(1, min(self.room, most, int(events * self.size))))

    def add(self, size: int) -> None:
        """It holds an event of so many bytes more."""
        remembered = MEMORY * self.size
        self.size = size if size > remembered else max(remembered, 1.0)
        self.change(size)

    def remove(self, size: int) -> None:
        """It holds an event of so many bytes less."""
        self.change(-size)

    def change(self, size: int) -> None:
        """It holds so many bytes, or entries, more; `size` stays as it is."""
        self.held += size
        if self._opened:
            self._memory.held += size

    def _enter(self, change: int) -> None:
        was, self._opened = self._opened > 0, self._opened + change
        now = self._opened > 0
        self._memory.shares += now - was
        self._memory.held += (now - was) * self.held


class _Asked:
    """Bytes of a share that are taken during the block."""

    __slots__ = ("_share", "_size")

    def __init__(self, share: Share, size: int) -> None:
        self._share = share
        self._size = size

    def __enter__(self) -> int:
        self._share.change(self._size)
        return self._size

    def __exit__(self, *_: object) -> None:
        self._share.change(-self._size)
