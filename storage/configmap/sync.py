"""Memory and ConfigMap, kept alike: what waits to be written, when it is, and who is right where they differ."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import structlog

from kubecdc.backoff import Backoff
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.configmap.config_map import ConfigMaps, Conflict
from kubecdc.storage.configmap.document import Found
from kubecdc.storage.configmap.record import Held
from kubecdc.storage.configmap.remote import Remote
from kubecdc.storage.configmap.size_budget import Room

log = structlog.get_logger()
TRIES = 5
RETRY = Backoff(duration=0.5, cap=5.0)


class Copy:
    """``held`` is the memory, by key. Whoever changes it says so by `touch`, and then waits for `settle`."""

    def __init__(
        self,
        api: ConfigMaps,
        room: Room,
        *,
        window: float,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.held: dict[str, Held] = {}
        self._place = api.place
        self._room = room
        self._window = window
        self._now = now
        self._sleep = sleep
        self._remote = Remote(api)
        self._exchange = asyncio.Lock()  # with the server
        self._alike: float | None = None  # when server and memory were last compared, or written
        self._waits: float | None = None  # since when something waits to be written
        self._timer: asyncio.Task[None] | None = None
        self._failure: KubecdcError | None = None  # of a write that nobody awaited

    @property
    def waits(self) -> bool:
        """Something is not written yet."""
        return self._waits is not None

    def fresh(self, seconds: float) -> bool:
        """Whether so little time has passed since the server was as we know it."""
        return self._alike is not None and self._now() - self._alike < seconds

    def written(self, key: str) -> bool:
        """Whether the server knows the checkpoint."""
        return key in self._remote.stamps

    async def look(self) -> None:
        """Read what is there, and bring memory in line. Raises Unavailable, Refused."""
        async with self._exchange:
            await self._reload()

    async def known(self) -> None:
        """See that it was read once. Raises what `look` does, and what became of a write that nobody awaited."""
        if self._failure:
            raise self._failure
        if self._alike is None:
            await self.look()

    def touch(self) -> None:
        """Something waits from now on."""
        if self._waits is None:
            self._waits = self._now()
        if self._window and (self._timer is None or self._timer.done()):
            self._timer = asyncio.create_task(self._later())

    async def settle(self, *, urgent: bool = False) -> None:
        """Write if it is time: what has waited for the window must not wait longer than this call."""
        if urgent or (self._waits is not None and self._now() - self._waits >= self._window):
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. Raises Unavailable, Refused."""
        for _ in range(TRIES):
            async with self._exchange:
                if self._failure:
                    raise self._failure
                if self._waits is None:
                    return
                since, self._waits = self._waits, None
                try:
                    await self._remote.write(await self._room.pack(self.held))
                    self._alike = self._now()
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

    async def _reload(self) -> None:
        found = await self._remote.fetch()
        self._alike = self._now()
        keys = {*self.held, *(found.checkpoints if found else {})}
        kept = [key for key in keys if not self._judge(key, found)]
        self._remote.settle(found)
        if kept:
            what = "is gone" if found is None else "is older than it was"
            log.warning(f"the ConfigMap {what}: what this leader knows is written again", configmap=self._place)
            self.touch()

    def _judge(self, key: str, found: Found | None) -> bool:
        """Decide whether memory or server is right. False: the server is to be brought in line with memory."""
        mine, theirs = self.held.get(key), found.checkpoints.get(key) if found else None
        written = self._remote.stamps.get(key)
        if mine is None or not mine.ours:
            if theirs is None:
                self.held.pop(key, None)
            else:
                self.held[key] = theirs
            return True
        if theirs is None:
            return written is None
        if theirs.stamp == written:
            return True
        newer = theirs.stamp.number >= (written.number if written else 0)
        if theirs.stamp.term > mine.stamp.term or (theirs.stamp.term == mine.stamp.term and newer):
            self.held[key] = replace(theirs, ours=True, lost=True)
            return True
        return False
