"""State that workers share, in a ConfigMap: for small numbers of small values, such as counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import msgspec
import structlog

from kubecdc.backoff import Backoff
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.configmap.config_map import ConfigMaps, Conflict, alternatives
from kubecdc.storage.configmap.remote import Answer
from kubecdc.storage.configmap.shared_reads import SharedReads
from kubecdc.storage.configmap.state_document import Content, Name, Stored, document, read
from kubecdc.storage.configmap.state_draft import StateDraft
from kubecdc.storage.contracts import StateChange, StateEntry

log = structlog.get_logger()
DEADLINE = 5.0  # seconds for a request
ATTEMPTS = 10  # writes, each after a conflict
RETRY = Backoff(duration=0.02, cap=0.5, jitter=0.5)
NEARLY = 0.8  # of the limit

Change = Callable[[StateDraft], KubecdcError | None]


@dataclass(frozen=True)
class StateSettings:
    """``window`` is the time between two writes of this process, ``limit`` how many bytes all values may take."""

    window: timedelta = timedelta(milliseconds=200)
    limit: int = 512 << 10


@dataclass(eq=False, frozen=True)
class _Waiting:
    change: Change
    made: asyncio.Future[None]


class ConfigMapState:
    """`storage.contracts.StateStore`.

    Changes that wait while a write is under way are written together. Each is checked against the content that the
    write replaces; if another process was faster, all of them are checked again against what it wrote.
    ``clock`` is the time since 1970, by which values expire for all processes; ``now`` is monotonic.
    """

    frequent = False

    def __init__(
        self,
        api: ConfigMaps,
        settings: StateSettings,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._api = api
        self._window = settings.window.total_seconds()
        self._limit = settings.limit
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._reads = SharedReads(self._fetch)
        self._known: Content | None = None  # as last read or written; another process may have changed it since
        self._decoded: Mapping[Name, Stored] = {}
        self._written: float | None = None  # when the last write began
        self._writes = 0  # begun and ended
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        self._warned = False

    async def get(self, scope: str, key: str) -> StateEntry | None:
        found = (await self._reads.latest()).values.get((scope, key))
        return found.entry if found and found.expires > self._clock() else None

    async def put(self, scope: str, key: str, change: StateChange) -> None:
        """As the contract; also raises Unavailable while there is no room for the value."""
        await self._submit(lambda draft: draft.put((scope, key), change))

    async def delete(self, scope: str, key: str, *, version: str) -> None:
        await self._submit(lambda draft: draft.delete((scope, key), version))

    async def keys(self, scope: str) -> list[str]:
        values, now = (await self._reads.latest()).values, self._clock()
        return [key for (of, key), found in values.items() if of == scope and found.expires > now]

    async def close(self) -> None:
        """Wait for the requests that are under way."""
        if self._writer:
            await asyncio.wait([self._writer])
        await self._reads.close()

    async def _submit(self, change: Change) -> None:
        waiting = _Waiting(change, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        await waiting.made

    async def _write_all(self) -> None:
        """Make all changes that wait, and those that arrive meanwhile."""
        while self._waiting:
            if self._written is not None and (left := self._written + self._window - self._now()) > 0:
                await self._sleep(left)
            batch, self._waiting = [one for one in self._waiting if not one.made.done()], []
            if not batch:  # all callers were cancelled
                continue
            errors: list[Exception | None]
            try:
                errors = [*await self._make([one.change for one in batch])]
            except Exception as e:
                errors = [e] * len(batch)
            for one, error in zip(batch, errors, strict=True):
                if one.made.done():
                    continue
                if error:
                    one.made.set_exception(error)
                else:
                    one.made.set_result(None)

    async def _make(self, changes: list[Change]) -> list[KubecdcError | None]:
        """Write the changes in one request, and return the error of each. Raises Unavailable, Refused, UsageError.

        What this process knows is enough to try a write. Only content that was read after the call may tell that a
        change is refused, or was made before.
        """
        attempts = 0
        content, latest = self._known, False
        while True:
            if content is None:
                content, latest = await self._reads.latest(), True
            draft = StateDraft(content, now=self._clock(), limit=self._limit)
            errors = [change(draft) for change in changes]
            if draft.effects < len(changes) and not latest:
                content = None
                continue
            if not draft.effects:
                return errors
            try:
                await self._write(content, draft)
            except Conflict as e:
                attempts += 1
                if attempts == ATTEMPTS:
                    raise Unavailable(
                        f"other processes keep changing the ConfigMap {self._api.place}",
                        hint=f"run fewer workers, or keep the `checkpoint` of the EventBus in {alternatives()}",
                    ) from e
                if attempts > 1:
                    await self._sleep(RETRY.delay(attempts - 1))
                content = None
            else:
                return errors

    async def _write(self, content: Content, draft: StateDraft) -> None:
        """Write the draft if the ConfigMap is still as in ``content``. Raises Conflict, Unavailable, Refused."""
        self._warn_if_nearly_full(draft)
        self._written = self._now()
        self._known = None
        self._writes += 1
        send = self._api.create if content.metadata is None else self._api.replace
        answer = await send(document(content.metadata, draft.values.values()), seconds=DEADLINE)
        try:
            metadata = msgspec.json.decode(answer, type=Answer).metadata
        except msgspec.MsgspecError as e:
            raise Unavailable(f"the answer of the API server is not a ConfigMap: {e}") from e
        self._known = Content(metadata, draft.values)
        self._decoded = draft.values
        self._writes += 1

    async def _fetch(self) -> Content:
        writes = self._writes
        text = await self._api.get(seconds=DEADLINE)
        content = read(text, self._api.place, self._decoded.values())
        self._decoded = content.values
        if writes == self._writes:  # else it may be older than what was written meanwhile
            self._known = content
        return content

    def _warn_if_nearly_full(self, draft: StateDraft) -> None:
        nearly = draft.size > NEARLY * self._limit
        if nearly and not self._warned:
            log.warning(
                "the state of triggers will soon not fit into its ConfigMap",
                code="configmap-nearly-full",
                configmap=self._api.place,
                values=len(draft.values),
                kib=draft.size >> 10,
                limit_kib=self._limit >> 10,
                hint=f"keep the `checkpoint` of the EventBus in {alternatives()}",
            )
        self._warned = nearly
