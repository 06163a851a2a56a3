"""Entries in namespaces that come and go: one watch, with its own checkpoint, for each that is in the selection.

A namespace that starts to match `namespaceSelector` is a first list; one that stops is read to its end, then gives a
`deselected` DELETE for each object known (`ending`). That takes seconds, and no other namespace waits for it. The
namespaces need no checkpoint: what was watched stands in the checkpoints of the bus, and is compared with what should
be watched at each start, and after each break.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import structlog

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import Expired, Malformed
from kubecdc.cluster.list_watch import Api, Silence
from kubecdc.cluster.resource import Resource
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Bus
from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.watcher import ending
from kubecdc.watcher import manifest as manifests
from kubecdc.watcher.capture.checkpoint_writer import Journal
from kubecdc.watcher.capture.relist import pages
from kubecdc.watcher.ongoing_problems import Notices
from kubecdc.watcher.pipeline import BACKOFF, Watch

log = structlog.get_logger()

ENDS = 16  # at a time
PAUSE_SECONDS = 1.0  # before the namespaces are listed again, so that a server that closes at once is not stormed
TROUBLE = (Unavailable, Malformed, CommitMismatch)  # all of it passes, or an operator mends it
MakeWatch = Callable[[str, str], Watch]  # for a namespace ("" = all) and the key of its checkpoint


class Places:
    """Where an entry is watched: ``base`` is its key, and each of several namespaces has a key below it."""

    def __init__(self, entry: manifests.Entry, base: str, make: MakeWatch, bus: Bus, notices: Notices) -> None:
        self.base = base
        self.make = make
        self.bus = bus
        self.notices = notices
        self.entry = entry
        self._ends = asyncio.Semaphore(ENDS)

    def key(self, namespace: str) -> str:
        """The checkpoint of a namespace that is watched apart."""
        return f"{self.base}/{namespace}"

    async def others(self, keys: set[str]) -> dict[str, str]:
        """Where else the entry was watched before: the namespace of each such checkpoint, by key."""
        found: dict[str, str] = {}
        for checkpoint in await self.bus.checkpoints.checkpoints():
            if checkpoint.state is None or checkpoint.key in keys:
                continue
            namespace = checkpoint.state.selection.namespace
            if checkpoint.key in {self.base, self.key(namespace)}:
                found[checkpoint.key] = namespace
        return found

    async def leave_others(self, keys: set[str]) -> None:
        """Leave where the entry was watched before. First the old end, then the new beginning: an object of both
        would end after it began."""
        others = await self.others(keys)
        ends = [asyncio.create_task(self.leave(namespace, key)) for key, namespace in others.items()]
        try:
            await asyncio.gather(*ends)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def leave(self, namespace: str, key: str) -> None:
        """Read what was watched under a checkpoint to its end, announce the end of what is known, and forget it."""
        async with self._ends:
            await self._leave(namespace, key)

    async def _leave(self, namespace: str, key: str) -> None:
        watch = self.make(namespace, key)
        cluster = await watch.identity.cluster()
        journal = await Journal.open(watch.entry, self.bus, watch.term, self.notices, cluster=cluster)
        if not journal.stored:
            return
        await watch.identity.require_same(journal, cluster)
        log.info("no longer watched", watch=key)
        await ending.end(watch, journal)
        await self.bus.checkpoints.reset(key)


async def watch_entry(places: Places, cluster: Cluster) -> None:
    """Watch an entry wherever its manifest says. For ever; raises LeadershipLost, Refused."""
    entry = places.entry
    if entry.namespace_selector is not None:
        await SelectedNamespaces(places, entry.namespace_selector.text, cluster).run()
        return
    here = {ns: places.key(ns) for ns in entry.namespaces} or {entry.namespace: places.base}
    failures = 0
    while True:
        try:
            await places.leave_others(set(here.values()))
            break
        except TROUBLE as e:
            failures += 1
            places.notices.trouble(places.base, e)
            await asyncio.sleep(BACKOFF.delay(failures))
    async with asyncio.TaskGroup() as tasks:
        for namespace, key in here.items():
            tasks.create_task(places.make(namespace, key).run())


class SelectedNamespaces:
    """Follows the namespaces that match a label selector, and keeps a watch in each."""

    def __init__(self, places: Places, selector: str, cluster: Cluster) -> None:
        self._places = places
        self._api = Api(cluster, Resource("", "v1", "namespaces", labels=selector))
        self._name = f"{places.base} (namespaces)"
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For ever. Raises LeadershipLost, Refused."""
        failures = 0
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self._once(tasks)
                    failures = 0
                    await asyncio.sleep(PAUSE_SECONDS)
                except Silence:
                    continue
                except TROUBLE as e:
                    # Also when the history expired: the list that follows says what is the matter.
                    failures += 1
                    if not isinstance(e, Expired):
                        self._places.notices.trouble(self._name, e)
                    await asyncio.sleep(BACKOFF.delay(failures))

    async def _once(self, tasks: asyncio.TaskGroup) -> None:
        """Bring the watches in line with a list, then follow the changes from there."""
        selected: set[str] = set()
        version = ""
        async for page in pages(self._api):
            version = page.version
            selected |= {item.meta.name for item in page.items}
        for namespace in self._running.keys() - selected:
            self._end(namespace, tasks)
        mine = {self._places.key(namespace) for namespace in selected | self._ending.keys()}
        for key, namespace in (await self._places.others(mine)).items():
            if key == self._places.key(namespace):
                self._leave(namespace, tasks)
            else:
                await self._places.leave(namespace, key)  # what is in the selection now may have been there too
        for namespace in sorted(selected):
            self._begin(namespace, tasks)
        async with aclosing(self._api.watch(version)) as stream:
            async for changes in stream:
                self._places.notices.over(self._name)
                for change in changes:
                    if change.type == "DELETED":
                        self._end(change.meta.name, tasks)
                    elif change.type != "BOOKMARK":
                        self._begin(change.meta.name, tasks)

    def _begin(self, namespace: str, tasks: asyncio.TaskGroup) -> None:
        if namespace not in self._running:
            self._running[namespace] = tasks.create_task(self._watch(namespace, self._ending.get(namespace)))

    async def _watch(self, namespace: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})  # selected again while it is being left: first the old end
        await self._places.make(namespace, self._places.key(namespace)).run()

    def _end(self, namespace: str, tasks: asyncio.TaskGroup) -> None:
        watch = self._running.pop(namespace, None)
        if watch is not None:
            watch.cancel()
            if namespace not in self._ending:  # else it has not begun
                self._leave(namespace, tasks, watch)

    def _leave(self, namespace: str, tasks: asyncio.TaskGroup, watch: asyncio.Task[None] | None = None) -> None:
        """Beside all others: reading to the end takes its time."""
        self._ending[namespace] = tasks.create_task(self._leave_at_last(namespace, watch))

    async def _leave_at_last(self, namespace: str, watch: asyncio.Task[None] | None) -> None:
        if watch is not None:
            await asyncio.wait({watch})
        key, failures = self._places.key(namespace), 0
        while True:
            try:
                await self._places.leave(namespace, key)
                break
            except TROUBLE as e:
                failures += 1
                self._places.notices.trouble(key, e)
                await asyncio.sleep(BACKOFF.delay(failures))
        self._places.notices.over(key)
        del self._ending[namespace]
