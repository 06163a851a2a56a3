"""A value that is replaced while others use it, such as what the manifests ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Current(Generic[T]):
    """``value`` is what counts now."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._replaced = asyncio.Event()  # a new one after each replacement

    def replace(self, value: T) -> None:
        """From now on, this value counts."""
        self.value = value
        replaced, self._replaced = self._replaced, asyncio.Event()
        replaced.set()

    async def until(self, holds: Callable[[T], bool]) -> None:
        """Wait until the value is such a one."""
        while not holds(self.value):
            await self._replaced.wait()

    async def after(self, seen: T) -> None:
        """Wait until this value counts no more."""
        await self.until(lambda value: value is not seen)
