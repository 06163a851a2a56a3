"""Notices that manifests have changed, by looking at the files again and again.

Looking works everywhere, also where nothing else tells: a mounted ConfigMap is swapped by a link, an editor renames a
new file into place, a network file system has no notifications.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from kubecdc.cli.manifests.documents import STDIN, files_in

PERIOD_SECONDS = 2.0


def can_be_read_again(path: str) -> bool:
    """Not so of standard input, and of pipes as the shell makes for ``<(...)``."""
    return path != STDIN and (Path(path).is_dir() or Path(path).is_file())


def look(paths: Sequence[str]) -> bytes:
    """A hash of the names and contents of all files, or of why they cannot be read: it differs if the manifests do."""
    seen = hashlib.sha256()
    for path in paths:
        try:
            files = files_in(Path(path))
        except OSError as e:
            seen.update(repr((path, e.errno)).encode())
            continue
        for file in files:
            try:
                content = file.read_bytes() if file.is_file() else b""
            except OSError as e:
                content = repr(e.errno).encode()
            seen.update(repr((path, str(file), len(content))).encode() + content)
    return seen.digest()


class Looks:
    """Looks each ``period``, if it is not None, and at once when somebody asks.

    ``seen`` is what was found when it counted last.
    """

    def __init__(self, find: Callable[[], bytes], seen: bytes, *, period: float | None = PERIOD_SECONDS) -> None:
        self._find = find
        self._seen = seen
        self._asked = asyncio.Event()
        self._period = period

    def ask(self) -> None:
        """Look now, and take what is found as it is."""
        self._asked.set()

    async def news(self) -> bool:
        """Wait until something has changed, or somebody asks. Returns whether somebody does.

        A change counts once two looks in a row find the same: what is half written does not.
        """
        before = self._seen
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period):
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            found = await self._look()
            if asked or found == before != self._seen:
                self._seen = found
                return asked
            before = found

    async def same(self) -> bool:
        """Whether another look finds what counted last. If not, it counts as a change as soon as it stays."""
        found = await self._look()
        if found != self._seen:
            self._seen = b""
        return bool(self._seen)

    async def _look(self) -> bytes:
        """In a thread: a file system may take its time."""
        return await asyncio.to_thread(self._find)
