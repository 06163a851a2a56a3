"""A dictionary that forgets what was not used for the longest time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Keeps the values of the ``most`` keys that were put last."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        """The value, None if there is none (any more)."""
        return self._values.get(key)

    def put(self, key: str, value: V) -> None:
        """Remember the value, and forget the oldest if there are too many."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def forget(self, key: str) -> None:
        """A no-op if there is no value."""
        self._values.pop(key, None)
