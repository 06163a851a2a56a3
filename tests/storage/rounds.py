"""Counts the rounds of calls that follow each other, each of which takes a round trip of a slow network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Rounds:
    """A call that begins after another one has ended is in a later round. ``count`` is how many there were."""

    def __init__(self) -> None:
        self.count = 0
        self.calls = 0
        self._ended = 0

    async def run(self, call: Awaitable[Any]) -> Any:
        """Make a call."""
        own = self._ended + 1
        self.count, self.calls = max(self.count, own), self.calls + 1
        try:
            return await call
        finally:
            self._ended = max(self._ended, own)


@contextmanager
def counted(patch: pytest.MonkeyPatch, *methods: tuple[type, str]) -> Iterator[Rounds]:
    """The rounds of what these methods, which make one call each, do during the block."""
    rounds = Rounds()

    def counting(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(self: Any, *args: Any, **named: Any) -> Any:
            return await rounds.run(method(self, *args, **named))

        return call

    with patch.context() as context:
        for owner, name in methods:
            context.setattr(owner, name, counting(getattr(owner, name)))
        yield rounds
