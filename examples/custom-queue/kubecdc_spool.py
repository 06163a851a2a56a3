"""A queue that keeps each event as a file of its subscription.

    <spool>/subscriptions/<name>/spec      name, source, subject and time of the registration
    <spool>/subscriptions/<name>/events/   <due>.<published>.<attempts>.<uncounted>.<successes>.<token>
    <spool>/subscriptions/<name>/succeeded changed at the time of the last ack
    <spool>/subscriptions/<name>/workers/  a file for each process, touched as a heartbeat
    <spool>/dead/<name>/                   events that were given up on, each with its reason in reason.<token>

Every change of an event is one rename or unlink of its file by its exact name. If several processes try, one succeeds.
The others get FileNotFoundError, which becomes ClaimLost.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, astuple
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, NoReturn, TypeVar
from urllib.parse import quote, unquote

from pydantic import Field

from kubecdc.errors import Unavailable, UsageError
from kubecdc.manifest.model import Model
from kubecdc.storage.contracts import (
    Capabilities,
    Delivery,
    Failures,
    Publication,
    Queue,
    SubscriptionSpec,
    SubscriptionStatus,
    Worker,
)
from kubecdc.storage.contracts.errors import BusFull, ClaimLost, NoSubscription
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.contracts.types import BusSettings, Opening, QueueType
from kubecdc.storage.delivery import ClaimedDelivery
from kubecdc.storage.ensure import ensure_registered
from kubecdc.storage.outage import Outage

T = TypeVar("T")
DEADLINE = 5.0  # seconds for a call
POLL = 0.05  # seconds between two looks into a directory
NEW = "new"  # the token of an event that was never claimed


class Spool(Model):
    """``spec.spool`` of an EventBus."""

    path: str = Field(min_length=1)


class SpoolType(QueueType[Spool]):
    """A directory on a local disk, for the processes of one machine. The entry point names this class."""

    model = Spool
    example = "{path: ./spool}"

    def place(self, spec: Spool) -> str:
        return str(Path(spec.path).absolute())

    async def open(self, spec: Spool, settings: BusSettings, opening: Opening) -> Queue:
        root = Path(self.place(spec))
        if not (opening.create or await in_thread(root.is_dir)):
            raise UsageError(f"there is no spool at {root} yet", hint="start `kubecdc run`, `watch` or `work` first")
        return SpoolQueue(root, settings, opening.holder)


class Name(NamedTuple):
    """The name of an event's file."""

    due: int  # milliseconds since the epoch; of a claimed event, the end of the claim
    published: str  # nanoseconds since the epoch, and a random end
    attempts: int
    uncounted: int  # this and the next: `kubecdc.storage.contracts.Failures`
    successes: int
    token: str  # of the last claim

    def __str__(self) -> str:
        return ".".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Name:
        due, published, attempts, uncounted, successes, token = text.split(".")
        return cls(int(due), published, int(attempts), int(uncounted), int(successes), token)


class SpoolQueue:
    """`kubecdc.storage.contracts.Queue`, and its `Publisher`."""

    capabilities = Capabilities(
        order=False,
        atomic_commit=False,
        delayed_nack=True,
        attempts=True,
        replay=False,
        dead_letter_browse=False,
        max_event_bytes=16 << 20,
        exactly_once_publish=False,
    )

    def __init__(self, root: Path, settings: BusSettings, holder: str) -> None:
        self._root = root
        self._settings = settings
        self._holder = holder
        self.ack_wait = settings.ack_wait
        self.publisher = self

    async def publish(self, publication: Publication) -> None:
        statuses = await self.subscriptions()
        owed = []
        for index, event in enumerate(publication.events):
            wanted = [s for s in statuses if (s.spec.source, s.spec.subject) == (event.source, event.subject)]
            if not wanted:
                raise NoSubscription.to_event(event.source, event.subject)
            for status in wanted:
                if isinstance(status.pending, int) and status.pending >= self._settings.max_pending:
                    raise BusFull(status.spec.name, status.pending, self._settings.max_pending)
                owed.append((self.subscription(status.spec.name), index, event.encode()))
        for subscription, index, body in owed:
            if (step := (subscription.path.name, index)) not in publication.done:
                publication.require_time(DEADLINE)
                await in_thread(subscription.add, body)
                publication.done.add(step)

    def fit(self, event: Event) -> Event:
        return event

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        for spec in specs:
            await in_thread(self.subscription(spec.name).register, spec)

    async def keep(self, specs: Iterable[SubscriptionSpec]) -> None:
        """The latest registration alone counts."""

    async def subscriptions(self, *, ages: bool = True) -> list[SubscriptionStatus]:
        names = await in_thread(lambda: sorted(unquote(path.name) for path in self._root.glob("subscriptions/*")))
        found = [await in_thread(self.subscription(name).status) for name in names]
        return [status for status in found if status]

    async def prune(self, name: str) -> bool:
        return await in_thread(self.subscription(name).prune)

    async def ensure(self, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
        return await ensure_registered(self, specs, dry_run=dry_run)

    def subscription(self, name: str, *, prefetch: int = 1, state: object = None) -> SpoolSubscription:
        return SpoolSubscription(self._root, name, self._holder, self.ack_wait, prefetch)

    @property
    def dead_letters(self) -> NoReturn:
        raise UsageError("a spool cannot list its dead letters")

    async def replay(self, replay: object) -> NoReturn:
        raise UsageError("a spool cannot replay events")

    replayable = replay

    async def close(self) -> None:
        """Nothing is open between two calls."""


class SpoolSubscription:
    """`kubecdc.storage.contracts.Subscription`: a directory. Methods that are not coroutines run in threads."""

    def __init__(self, root: Path, name: str, holder: str, ack_wait: timedelta, prefetch: int) -> None:
        self.path = root / "subscriptions" / quote(name, safe="")
        self.events = self.path / "events"
        self.succeeded = self.path / "succeeded"
        self.dead = root / "dead" / quote(name, safe="")
        self.heartbeat = self.path / "workers" / quote(holder, safe="")
        self.ack_wait = ack_wait.total_seconds()
        self.prefetch = prefetch
        self.out: set[SpoolDelivery] = set()
        self.closed = asyncio.Event()  # one of them was

    def register(self, spec: SubscriptionSpec) -> None:
        for folder in (self.events, self.heartbeat.parent, self.dead):
            folder.mkdir(parents=True, exist_ok=True)
        known = self.status()
        write(self.path / "spec", json.dumps([*astuple(spec), known.registered if known else time.time()]).encode())
        for folder in (*self.path.parents[:3], self.dead.parent):
            sync(folder)

    def status(self) -> SubscriptionStatus | None:
        """None if it is not registered. Workers without a heartbeat within ``ackWait`` do not count."""
        try:
            *spec, registered = json.loads((self.path / "spec").read_bytes())
        except FileNotFoundError:
            return None
        workers = []
        for file in self.heartbeat.parent.iterdir():
            with suppress(FileNotFoundError):  # it has just stopped
                workers.append(Worker(unquote(file.name), file.stat().st_mtime))
        present = tuple(worker for worker in workers if worker.seen > time.time() - self.ack_wait)
        names = self.names()
        oldest = min((int(name.published.partition("-")[0]) / 1e9 for name in names), default=None)
        dead = len(list(self.dead.glob("[0-9]*")))
        return SubscriptionStatus(SubscriptionSpec(*spec), registered, len(names), oldest, dead, present)

    def prune(self) -> bool:
        if found := self.path.is_dir():  # the rename ends it for everybody at once
            shutil.rmtree(self.path.rename(self.path.parents[1] / f"pruned-{secrets.token_hex(8)}"))
        return found

    def add(self, body: bytes) -> None:
        write(self.events / f"{milliseconds()}.{time.time_ns()}-{secrets.token_hex(4)}.0.0.0.{NEW}", body)

    def names(self) -> list[Name]:
        """Of all events, the longest due first."""
        return sorted(Name.parse(file.name) for file in self.events.glob("[0-9]*"))

    async def successes(self) -> int:
        return await in_thread(lambda: self.succeeded.stat().st_mtime_ns if self.succeeded.exists() else 0)

    async def registered(self) -> tuple[SubscriptionSpec, ...]:
        status = await in_thread(self.status)
        return (status.spec,) if status else ()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """An event is claimed when the caller asks for it, so nothing has to be given back at the end."""
        outage = Outage("the spool cannot be used", Random(), subscription=unquote(self.path.name))
        try:
            while True:
                try:
                    await in_thread(self.heartbeat.touch)
                    for name in await in_thread(self.names):
                        if name.due > milliseconds():
                            break
                        await self._room()
                        if delivery := await in_thread(self._claim, name):
                            self.out.add(delivery)
                            yield delivery
                    outage.over()
                    await asyncio.sleep(POLL)
                except Unavailable as e:
                    await asyncio.sleep(outage.failed(e))
        finally:
            self.heartbeat.unlink(missing_ok=True)

    async def _room(self) -> None:
        """Wait for it. A delivery takes room until it is settled or its claim has lapsed: its settlement may fail."""
        while len(self.out) >= self.prefetch:
            self.closed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self.closed.wait()
            self.out = {delivery for delivery in self.out if delivery.until > milliseconds()}

    def _claim(self, name: Name) -> SpoolDelivery | None:
        """None if another process was faster."""
        claimed = name._replace(due=milliseconds(self.ack_wait), token=secrets.token_hex(8))
        try:
            self.heartbeat.touch()
            file = (self.events / str(name)).rename(self.events / str(claimed))
            return SpoolDelivery(self, claimed, file.read_bytes(), received=name.token != NEW)
        except FileNotFoundError:
            return None


class SpoolDelivery(ClaimedDelivery):
    """`kubecdc.storage.contracts.Delivery`: the file of an event, under the name that the claim gave it."""

    def __init__(self, owner: SpoolSubscription, file: Name, body: bytes, *, received: bool) -> None:
        failures = Failures(file.uncounted, file.successes)
        super().__init__(body, name=file.published, received=int(received), attempts=file.attempts, failures=failures)
        self._owner = owner
        self._file = file
        self._lock = threading.Lock()  # the claim may be extended while the event is settled

    @property
    def until(self) -> int:
        """The end of its claim."""
        return self._file.due

    async def ack(self) -> None:
        await self._settle("ack", lambda: in_thread(self._remove))

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        due, kept = milliseconds(delay.total_seconds()), asdict(failures or self.failures)
        await self._settle("nack", lambda: self._rename(due=due, attempts=self._attempted, **kept))

    async def extend(self) -> None:
        await self._while_claimed(lambda: self._rename(due=milliseconds(self._owner.ack_wait)))

    async def dead_letter(self, reason: str) -> None:
        await self._settle("dead letter", lambda: in_thread(self._put_aside, reason))

    async def _record_attempt(self) -> None:
        await self._rename(attempts=self.attempt)

    def _closed(self, delay: float | None) -> None:
        self._owner.out.discard(self)
        self._owner.closed.set()

    async def _rename(self, **changes: int) -> None:
        await in_thread(lambda: self._move(self._owner.events, **changes))

    def _remove(self) -> None:
        self._move(None)
        if self._started:
            now = time.time_ns()  # files have coarser times by themselves
            self._owner.succeeded.touch()
            os.utime(self._owner.succeeded, ns=(now, now))

    def _put_aside(self, reason: str) -> None:  # the reason first: after a crash, no event is there without one
        write(self._owner.dead / f"reason.{self._file.token}", reason.encode())
        self._move(self._owner.dead, attempts=self._attempted)
        sync(self._owner.dead)

    def _move(self, folder: Path | None, **changes: Any) -> None:
        """Rename the file, or remove it. Raises ClaimLost if another process has renamed it."""
        with self._lock:
            file, name = self._owner.events / str(self._file), self._file._replace(**changes)
            try:
                file.rename(folder / str(name)) if folder else file.unlink()
            except FileNotFoundError as e:
                raise ClaimLost.lapsed(self._file.published) from e
            self._file = name


async def in_thread(call: Callable[..., T], *args: object) -> T:
    """Call what blocks. Raises Unavailable for an error of the file system, because it may work later."""
    try:
        async with asyncio.timeout(DEADLINE):
            return await asyncio.to_thread(call, *args)
    except OSError as e:  # TimeoutError is one
        raise Unavailable(f"the spool cannot be used: {str(e) or f'no answer within {DEADLINE:g} s'}") from e


def write(path: Path, content: bytes) -> None:
    """Write a file: all of it or nothing, and on the disk when this returns."""
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make the content of a file durable, or the names in a folder."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def milliseconds(delay: float = 0) -> int:
    """The time in so many seconds, since the epoch."""
    return int((time.time() + delay) * 1000)
