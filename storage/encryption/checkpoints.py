"""Seals the bodies that an inventory keeps (`inventory: objects`). Names and versions in it stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import CheckpointDelta, CheckpointStore, Term
from kubecdc.storage.contracts.errors import Undecodable
from kubecdc.storage.encryption.keyring import KeyRing


class SealedCheckpoints:
    """`storage.contracts.CheckpointStore`."""

    def __init__(self, inner: CheckpointStore, codec: KeyRing) -> None:
        self._inner = inner
        self._codec = codec
        self.acquire = inner.acquire
        self.newest_term = inner.newest_term
        self.entry = inner.entry
        self.save_entry = inner.save_entry
        self.flush = inner.flush
        self.inventory = inner.inventory
        self.checkpoint = inner.checkpoint
        self.checkpoints = inner.checkpoints
        self.gaps = inner.gaps
        self.reset = inner.reset
        self.remove = inner.remove

    async def save(self, key: str, delta: CheckpointDelta, *, term: Term) -> None:
        await self._inner.save(key, sealed_delta(key, delta, self._codec), term=term)

    async def intend(self, key: str, delta: CheckpointDelta, *, term: Term) -> bool:
        return await self._inner.intend(key, sealed_delta(key, delta, self._codec), term=term)

    async def bodies(self, key: str, uids: Sequence[str]) -> dict[str, bytes]:
        """Raises Locked for a body whose key is not there, Unavailable for one that was altered."""
        found = await self._inner.bodies(key, uids)
        try:
            return {uid: self._codec.open_body(body, key, uid) for uid, body in found.items()}
        except Undecodable as e:
            hint = f"`kubecdc checkpoint reset {key}` announces all objects again"
            raise Unavailable(f"a body in the inventory of {key} cannot be read: {e}", hint=hint) from e


def sealed_delta(key: str, delta: CheckpointDelta, codec: KeyRing) -> CheckpointDelta:
    """A step of the checkpoint with its bodies sealed, under the same token. Raises Unavailable."""
    if not delta.bodies:
        return delta
    bodies = {uid: codec.seal_body(body, key, uid) for uid, body in delta.bodies.items()}
    return msgspec.structs.replace(delta, bodies=bodies)
