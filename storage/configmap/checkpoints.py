"""Checkpoints in one ConfigMap. The leader has them in memory, and writes them about once a second.

Whatever is there is a moment of the past, whole: a crash loses the steps of the write window, as if they had not been
made. Only the position and the inventory may wait like that (`Held.urgent`). A write names the version that it follows;
one that is refused is looked into: another leader, an operator, an own write whose reply was lost, or a ConfigMap that
came back older than it was, or is gone. The last two do not move the leader, who writes again what it knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from storage.backoff import Backoff
from storage.configmap.api import ConfigMaps, Conflict
from storage.configmap.document import Found
from storage.configmap.held import Held
from storage.configmap.remote import Remote
from storage.configmap.room import Room
from storage.contracts import Checkpoint, CheckpointDelta, Gap, Inventoried, Term
from storage.errors import CommitMismatch, KubecdcError, Unavailable

log = structlog.get_logger()
LOOK = 4  # windows for which the leader does not look whether somebody else has written
TRIES = 5
RETRY = Backoff(duration=0.5, cap=5.0)


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
        self._place = api.place
        self._window = settings.window.total_seconds()
        self._now = now
        self._sleep = sleep
        self._remote = Remote(api)
        self._room = Room(api.place, settings.limit)
        self._exchange = asyncio.Lock()  # with the server
        self._held: dict[str, Held] = {}
        self._looked: float | None = None  # when it was last read or written
        self._waits: float | None = None  # since when something waits to be written
        self._timer: asyncio.Task[None] | None = None
        self._failure: KubecdcError | None = None  # of a write that nobody awaited

    async def acquire(self, key: str, term: Term) -> Checkpoint:
        await self._look()
        held = self._held.setdefault(key, Held(key))
        held.require(term)
        held.lost = False
        if not held.ours or held.stamp.term != term.number or self._remote.stamps.get(key) is None:
            held.ours = True
            held.stamp = replace(held.stamp, term=term.number)
            self._touch()
            await self.flush()
            held = self._at(key)
            held.require(term)
            held.lost = False
        return held.checkpoint

    async def save(self, key: str, delta: CheckpointDelta, *, term: Term) -> None:
        held = await self._known(key)
        urgent = not held.ours
        if held.is_next(delta, term):
            await self._room.require(self._held, key, delta)
            held = self._next(key, delta, term)
            urgent = urgent or held.urgent(delta)
            held.take(delta, term)
            self._touch()
        elif self._waits is None:
            await self._look()
        await self._settle(urgent=urgent)
        self._require_made(key, delta, term)

    async def intend(self, key: str, delta: CheckpointDelta, *, term: Term) -> bool:
        """What does not fit is refused here, before anything is published.

        On a checkpoint that was quiet it is written at once, so that a leader that slept learns before it publishes.
        """
        await self._settle()
        held = await self._known(key)
        if not held.is_next(delta, term):
            if self._waits is None:
                await self._look()
            self._require_made(key, delta, term)
            return False
        await self._room.require(self._held, key, delta)
        self._next(key, delta, term).intend(delta)
        self._touch()
        await self._settle(urgent=not self._fresh(self._window))
        self._next(key, delta, term)
        return True

    async def flush(self) -> None:
        for _ in range(TRIES):
            async with self._exchange:
                if self._failure:
                    raise self._failure
                if self._waits is None:
                    return
                since, self._waits = self._waits, None
                try:
                    await self._remote.write(await self._room.pack(self._held))
                    self._looked = self._now()
                except Conflict:
                    self._waits = since
                    await self._reload()
                except BaseException:
                    self._waits = since
                    raise
        if self._waits is not None:
            raise Unavailable(
                f"the ConfigMap {self._place} is changed by somebody else all the time",
                hint="see who: its managedFields",
            )

    async def inventory(self, key: str) -> dict[str, Inventoried]:
        held = await self._seen(key)
        return dict(held.inventory) if held else {}

    async def bodies(self, key: str, uids: Sequence[str]) -> dict[str, bytes]:
        held = await self._seen(key)
        return {uid: held.bodies[uid] for uid in uids if uid in held.bodies} if held else {}

    async def gaps(self, key: str) -> list[Gap]:
        """The last fifty."""
        held = await self._seen(key)
        return list(held.gaps) if held else []

    async def checkpoint(self, key: str) -> Checkpoint | None:
        """The leader looks now and then whether somebody else has moved it."""
        held = self._held.get(key)
        if not (held and held.ours and self._fresh(LOOK * self._window)):
            await self._look()
        held = self._held.get(key)
        return held.checkpoint if held else None

    async def checkpoints(self) -> list[Checkpoint]:
        await self._look()
        return [held.checkpoint for _, held in sorted(self._held.items())]

    async def reset(self, key: str) -> bool:
        for _ in range(TRIES):
            await self._look()
            held = self._held.get(key)
            if held is None:
                return False
            found = held.reset()
            stamp = held.stamp
            self._touch()
            await self.flush()
            if self._at(key).stamp == stamp:
                return found
        raise Unavailable(f"checkpoint {key!r} is moved by somebody else all the time", hint="stop its watcher first")

    async def close(self) -> None:
        """Write what waits. If that fails, those steps count as not made."""
        if self._timer:
            self._timer.cancel()
            with suppress(asyncio.CancelledError):
                await self._timer
        try:
            await self.flush()
        except KubecdcError as e:
            log.warning("the checkpoint could not be written at the end", error=str(e), hint=e.hint)

    # -- memory

    async def _known(self, key: str) -> Held:
        if self._failure:
            raise self._failure
        if self._looked is None:
            await self._look()
        return self._held.setdefault(key, Held(key))

    def _at(self, key: str) -> Held:
        return self._held.get(key) or Held(key)

    async def _seen(self, key: str) -> Held | None:
        """The checkpoint: a leader's own is in memory, of another's the last write counts."""
        held = self._held.get(key)
        if not (held and held.ours):
            await self._look()
        return self._held.get(key)

    def _next(self, key: str, delta: CheckpointDelta, term: Term) -> Held:
        """The checkpoint that the step follows, after we waited. Raises LeadershipLost, CommitMismatch."""
        held = self._at(key)
        if not held.is_next(delta, term):
            raise CommitMismatch(f"checkpoint {key!r} was moved to commit {held.stamp.number} by somebody else")
        return held

    def _require_made(self, key: str, delta: CheckpointDelta, term: Term) -> None:
        """Raise LeadershipLost, CommitMismatch if the step is not the last one."""
        held = self._at(key)
        if held.lost or (held.stamp.number, held.stamp.token) != (delta.follows + 1, delta.token):
            held.require(term)
            raise CommitMismatch(f"checkpoint {key!r} was moved to commit {held.stamp.number} by somebody else")

    def _fresh(self, seconds: float) -> bool:
        """Whether so little time has passed since the server was as we know it."""
        return self._looked is not None and self._now() - self._looked < seconds

    def _touch(self) -> None:
        """Something waits from now on."""
        if self._waits is None:
            self._waits = self._now()
        if self._window and (self._timer is None or self._timer.done()):
            self._timer = asyncio.create_task(self._later())

    async def _settle(self, *, urgent: bool = False) -> None:
        """Write if it is time: what has waited for the window must not wait longer than this call."""
        if urgent or (self._waits is not None and self._now() - self._waits >= self._window):
            await self.flush()

    async def _later(self) -> None:
        """Write what waits when it is time and nothing else comes that would."""
        failures = 0
        while self._waits is not None:
            left = self._waits + self._window - self._now()
            if left > 0:
                await self._sleep(left)
                continue
            try:
                await self.flush()
                failures = 0
            except Unavailable as e:
                failures += 1
                if failures == 1:
                    log.warning("the checkpoint cannot be written", error=str(e), hint=e.hint)
                await self._sleep(RETRY.delay(failures))
            except KubecdcError as e:
                self._failure = e
                return

    # -- what others do

    async def _look(self) -> None:
        async with self._exchange:
            await self._reload()

    async def _reload(self) -> None:
        """Bring memory in line with the server. Raises Unavailable, Refused."""
        found = await self._remote.fetch()
        self._looked = self._now()
        kept = [key for key in {*self._held, *(found.checkpoints if found else {})} if not self._judge(key, found)]
        self._remote.settle(found)
        if kept:
            what = "is gone" if found is None else "is older than it was"
            log.warning(f"the ConfigMap {what}: what this leader knows is written again", configmap=self._place)
            self._touch()

    def _judge(self, key: str, found: Found | None) -> bool:
        """Decide whether memory or server is right. False: the server is to be brought in line with memory."""
        mine, theirs = self._held.get(key), found.checkpoints.get(key) if found else None
        written = self._remote.stamps.get(key)
        if mine is None or not mine.ours:
            if theirs is None:
                self._held.pop(key, None)
            else:
                self._held[key] = theirs
            return True
        if theirs is None:
            return written is None
        if theirs.stamp == written:
            return True
        newer = theirs.stamp.number >= (written.number if written else 0)
        if theirs.stamp.term > mine.stamp.term or (theirs.stamp.term == mine.stamp.term and newer):
            self._held[key] = replace(theirs, ours=True, lost=True)
            return True
        return False
