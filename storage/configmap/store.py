"""Checkpoints in one ConfigMap. The leader has them in memory, and writes them about once a second.

Whatever is there is a moment of the past, whole: a crash loses the steps of the write window, as if they had not been
made. Only the position and the inventory may wait like that (`Held.urgent`). A write names the version that it follows;
one that is refused is looked into: another leader, an operator, an own write whose reply was lost, or a ConfigMap that
came back older than it was, or is gone. The last two do not move the leader, who writes again what it knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from kubecdc.errors import Unavailable
from kubecdc.storage.configmap.config_map import ConfigMaps
from kubecdc.storage.configmap.record import Held
from kubecdc.storage.configmap.size_budget import Room
from kubecdc.storage.configmap.sync import TRIES, Copy
from kubecdc.storage.contracts import Checkpoint, CheckpointDelta, Gap, Inventoried, Term
from kubecdc.storage.contracts.errors import CommitMismatch

LOOK = 4  # windows for which the leader does not look whether somebody else has written


@dataclass(frozen=True)
class ConfigMapSettings:
    """``window`` is for how long steps may wait to be written together, ``limit`` the bytes that all values may take.

    Kubernetes promises to take 1 MiB.
    """

    window: timedelta = timedelta(seconds=1)
    limit: int = 900 << 10


class ConfigMapCheckpoints:
    """`storage.contracts.CheckpointStore`."""

    def __init__(
        self,
        api: ConfigMaps,
        settings: ConfigMapSettings,
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._window = settings.window.total_seconds()
        self._room = Room(api.place, settings.limit)
        self._copy = Copy(api, self._room, window=self._window, now=now, sleep=sleep)

    async def acquire(self, key: str, term: Term) -> Checkpoint:
        await self._copy.look()
        held = self._copy.held.setdefault(key, Held(key))
        held.require(term)
        held.lost = False
        if not held.ours or held.stamp.term != term.number or not self._copy.written(key):
            held.ours = True
            held.stamp = replace(held.stamp, term=term.number)
            self._copy.touch()
            await self._copy.flush()
            held = self._at(key)
            held.require(term)
            held.lost = False
        return held.checkpoint

    async def save(self, key: str, delta: CheckpointDelta, *, term: Term) -> None:
        await self._copy.known()
        held = self._at(key)
        urgent = not held.ours
        if held.is_next(delta, term):
            await self._room.require(self._copy.held, held, delta)
            held = self._next(key, delta, term)
            urgent = urgent or held.urgent(delta)
            held.take(delta, term)
            self._changed(held)
        elif not self._copy.waits:
            await self._copy.look()
        await self._copy.settle(urgent=urgent)
        self._require_made(key, delta, term)

    async def intend(self, key: str, delta: CheckpointDelta, *, term: Term) -> bool:
        """What does not fit is refused here, before anything is published.

        On a checkpoint that was quiet it is written at once, so that a leader that slept learns before it publishes.
        """
        await self._copy.settle()
        await self._copy.known()
        held = self._at(key)
        if not held.is_next(delta, term):
            if not self._copy.waits:
                await self._copy.look()
            self._require_made(key, delta, term)
            return False
        await self._room.require(self._copy.held, held, delta)
        held = self._next(key, delta, term)
        held.intend(delta)
        self._changed(held)
        await self._copy.settle(urgent=not (held.ours and self._copy.fresh(self._window)))
        self._next(key, delta, term)
        return True

    async def flush(self) -> None:
        await self._copy.flush()

    async def inventory(self, key: str) -> dict[str, Inventoried]:
        return dict((await self._seen(key)).inventory)

    async def bodies(self, key: str, uids: Sequence[str]) -> dict[str, bytes]:
        bodies = (await self._seen(key)).bodies
        return {uid: bodies[uid] for uid in uids if uid in bodies}

    async def gaps(self, key: str) -> list[Gap]:
        """The last ten."""
        return list((await self._seen(key)).gaps)

    async def checkpoint(self, key: str) -> Checkpoint | None:
        """The leader looks now and then whether somebody else has moved it."""
        if not (self._at(key).ours and self._copy.fresh(LOOK * self._window)):
            await self._copy.look()
        held = self._copy.held.get(key)
        return held.checkpoint if held else None

    async def checkpoints(self) -> list[Checkpoint]:
        await self._copy.look()
        return [held.checkpoint for _, held in sorted(self._copy.held.items())]

    async def reset(self, key: str) -> bool:
        for _ in range(TRIES):
            await self._copy.look()
            held = self._copy.held.get(key)
            if held is None:
                return False
            found = held.reset()
            stamp = held.stamp
            self._copy.touch()
            await self._copy.flush()
            if self._at(key).stamp == stamp:
                return found
        raise Unavailable(f"checkpoint {key!r} is moved by somebody else all the time", hint="stop its watcher first")

    async def close(self) -> None:
        """Write what waits. If that fails, those steps count as not made."""
        await self._copy.close()

    def _at(self, key: str) -> Held:
        return self._copy.held.get(key) or Held(key)

    async def _seen(self, key: str) -> Held:
        """The checkpoint: a leader's own is in memory, of another's the last write counts."""
        if not self._at(key).ours:
            await self._copy.look()
        return self._at(key)

    def _next(self, key: str, delta: CheckpointDelta, term: Term) -> Held:
        """The checkpoint that the step follows, after we waited. Raises LeadershipLost, CommitMismatch."""
        held = self._at(key)
        if not held.is_next(delta, term):
            raise CommitMismatch(f"checkpoint {key!r} was moved to commit {held.stamp.number} by somebody else")
        return held

    def _changed(self, held: Held) -> None:
        self._copy.held[held.key] = held
        self._copy.touch()

    def _require_made(self, key: str, delta: CheckpointDelta, term: Term) -> None:
        """Raise LeadershipLost, CommitMismatch if the step is not the last one."""
        held = self._at(key)
        if held.lost or (held.stamp.number, held.stamp.token) != (delta.follows + 1, delta.token):
            held.require(term)
            raise CommitMismatch(f"checkpoint {key!r} was moved to commit {held.stamp.number} by somebody else")
