"""The keys of a bus, as its Secrets have them now."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from kubecdc import facts
from kubecdc.cluster.keys import Keys
from kubecdc.errors import Unavailable
from kubecdc.facts import Trouble
from kubecdc.manifest.mounts import Unreadable
from kubecdc.manifest.secrets import KeyRef
from kubecdc.storage.contracts.errors import Locked
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.encryption import sealing
from kubecdc.storage.encryption.sealing import Key
from kubecdc.storage.outage import Outage

PAUSE = 30.0  # seconds until the Secrets are read again
DOUBTED = 1.0  # the same at first, when something is encrypted with a key that is not there
PATIENCE = 2.0  # seconds for the first reading, before the bus is used without keys


class KeyRing:
    """`Codec`: the first key seals, and each opens what it has sealed. Keys are known by what they are, not by name.

    A value that is replaced in its Secret is another key: it is used within `PAUSE` seconds of being seen here. A key
    that cannot be read is reported, and whatever needs it waits. ``bus`` is the name of the EventBus. ``pause`` and
    ``doubted`` are for tests.
    """

    def __init__(
        self,
        bus: str,
        refs: Sequence[KeyRef],
        keys: Keys,
        *,
        wall: Callable[[], float] = time.time,
        pause: float = PAUSE,
        doubted: float = DOUBTED,
    ) -> None:
        self._bus = bus
        self._refs = refs
        self._keys = keys
        self._wall = wall
        self._pauses = pause, doubted
        self._found: dict[KeyRef, Key] = {}
        self._unusable: dict[KeyRef, tuple[Unavailable, float]] = {}  # why, and since when
        text = "an encryption key cannot be used; what needs it waits"
        rng = random.Random()
        self._outages = {ref: Outage(text, rng, code="encryption-key-unusable", bus=bus, key=str(ref)) for ref in refs}
        self._doubted = asyncio.Event()
        self._read = asyncio.Event()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Read the keys, and again and again until the end of the context.

        Raises nothing for a key that is away, and does not wait for long for a cluster that does not answer.
        """
        end = facts.troubles.read(f"encryption of {self._bus}", self._trouble)
        keeping = asyncio.create_task(self._keep())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._read.wait()
            yield
        finally:
            end()
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    async def refresh(self) -> None:
        """Read the keys anew."""
        for ref in self._refs:
            try:
                self._found[ref] = sealing.read_key(await self._keys.content(ref))
            except ValueError as e:
                self._lost(ref, Unavailable(f"{ref} {e}", hint=sealing.MAKE))
            except Unreadable as e:
                if not (e.ours and ref in self._found):  # the API server is away, and the value is known
                    self._lost(ref, e)
            else:
                self._unusable.pop(ref, None)

    def seal(self, event: Event) -> Event:
        return sealing.seal_event(event, self._first)

    def seal_smaller(self, event: Event) -> Event:
        """As `seal`, in fewer bytes and with more work."""
        return sealing.seal_event(event, self._first, smaller=True)

    def open(self, event: Event) -> Event:
        return sealing.open_event(event, self._known(event.encryptionkey)) if event.encryptionkey else event

    def seal_body(self, body: bytes, checkpoint: str, uid: str) -> bytes:
        """A body of the inventory as it is stored. Raises Unavailable."""
        return sealing.seal_body(body, self._first, checkpoint, uid)

    def open_body(self, stored: bytes, checkpoint: str, uid: str) -> bytes:
        """A body of the inventory, which may be in the clear. Raises Locked, Undecodable."""
        key = sealing.key_of_body(stored)
        return sealing.open_body(stored, self._known(key), checkpoint, uid) if key else stored

    @property
    def usable(self) -> bool:
        """Whether something can be sealed now."""
        return self._refs[0] in self._found

    @property
    def _first(self) -> Key:
        if not self.usable:
            why, _ = self._unusable.get(self._refs[0], (Unavailable("the keys are not read yet"), 0.0))
            raise Unavailable(f"nothing can be encrypted: {why}", hint=why.hint)
        return self._found[self._refs[0]]

    def _known(self, id_: str) -> Key:
        for key in self._found.values():
            if key.id == id_:
                return key
        self._doubted.set()
        found = [f"{key.id} is the {ref}" for ref, key in self._found.items()]
        found += [str(why) for why, _ in self._unusable.values()]
        raise Locked.of(id_, "; ".join(found))

    def _lost(self, ref: KeyRef, error: Unavailable) -> None:
        self._found.pop(ref, None)
        _, since = self._unusable.get(ref, (error, self._wall()))
        self._unusable[ref] = error, since

    def _report(self) -> None:
        for ref, outage in self._outages.items():
            if ref in self._unusable:
                outage.failed(self._unusable[ref][0])
            else:
                outage.over()

    def _trouble(self) -> Trouble | None:
        troubles = (Trouble.of(why, since) for why, since in self._unusable.values())
        return min(troubles, key=lambda trouble: trouble.since, default=None)

    async def _keep(self) -> None:
        pause, doubted = self._pauses
        await self.refresh()
        self._read.set()
        await asyncio.sleep(doubted)  # a command that needs no key has nothing to tell of it
        wait = doubted
        while True:
            self._report()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._doubted.wait()
                await asyncio.sleep(wait)
                self._keys.doubt(self._refs)
            self._doubted.clear()
            before = self._names
            await self.refresh()
            wait = doubted if self._names != before else min(2 * wait, pause)

    @property
    def _names(self) -> set[str]:
        return {key.id for key in self._found.values()}
