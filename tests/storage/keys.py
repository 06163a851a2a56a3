"""The keys of a bus that encrypts, in a folder as a Secret is mounted."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from kubecdc.cluster.keys import Keys
from kubecdc.manifest.mounts import Mounts
from kubecdc.manifest.secrets import KeyRef
from kubecdc.storage.encryption.keyring import KeyRing

SECRET = "bus-keys"
NEW, OLD = "new", "old"


def key_text(name: str) -> str:
    """A key of that name, as `openssl rand -base64 32` prints one."""
    return base64.b64encode(name.encode().ljust(32, b"-")).decode() + "\n"


class KeyFolder:
    """The Secret of the keys, mounted."""

    def __init__(self, secrets: Path) -> None:
        self.secrets = secrets
        self._folder = secrets / SECRET
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, *names: str) -> KeyFolder:
        """Have exactly these keys in it, each with the content of its name."""
        for file in self._folder.iterdir():
            file.unlink()
        for name in names:
            self.put(name, key_text(name))
        return self

    def put(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    def rotate(self, name: str) -> None:
        """Have the new key become the old one, and take the key of that name for the new one."""
        self.put(OLD, (self._folder / NEW).read_text())
        self.put(NEW, key_text(name))

    def ring(self, *names: str, pause: float = 0.05, doubted: float = 0.05) -> KeyRing:
        """The keys of a bus whose manifest names these, the first one for what is new."""
        return KeyRing("default", refs(*names), Keys(Mounts(secrets=self.secrets)), pause=pause, doubted=doubted)

    @asynccontextmanager
    async def kept(self, *names: str) -> AsyncIterator[KeyRing]:
        """The same, read again and again."""
        ring = self.ring(*names)
        async with ring.kept():
            yield ring


def refs(*names: str) -> Sequence[KeyRef]:
    return [KeyRef.model_validate({"name": SECRET, "key": name}) for name in names]
