"""Namespaces that a label selector finds, as they come and go.

A namespace that starts to match begins with a first list. One that stops is read to its end, then each object known
gets a `deselected` DELETE. That takes seconds, and no other namespace waits for it.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import aclosing
from functools import partial

from kubecdc.cluster.changes import Change
from kubecdc.cluster.errors import Cut, Expired
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.resource import Resource
from kubecdc.cluster.watch_lines import Silence
from kubecdc.watcher.capture.memory import Memory
from kubecdc.watcher.capture.pages import pages
from kubecdc.watcher.capture.stream import INSTANT_SECONDS
from kubecdc.watcher.namespaces.watches import EntryWatches
from kubecdc.watcher.recovery import RETRIED, Recovery

PAUSE_SECONDS = 1.0  # before the namespaces are listed again, in case the server closes each watch at once


class SelectedNamespaces:
    """Follows the namespaces that match a label selector, and keeps a watch in each."""

    def __init__(self, watches: EntryWatches, selector: str) -> None:
        self._watches = watches
        self._list_watch = ListWatch(
            watches.session.cluster, Resource("", "v1", "namespaces", labels=selector), essential=True
        )
        self._recovery = Recovery(watches.session, f"{watches.base} (namespaces)")
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Watch until cancelled. Raises LeadershipLost, Refused."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self._once(tasks)
                    self._recovery.succeeded()
                    await asyncio.sleep(PAUSE_SECONDS)
                except Silence:
                    continue
                except RETRIED as e:
                    # Expired history is routine: the list that follows shows the current namespaces.
                    await self._recovery.after(e, report=not isinstance(e, Expired))

    async def _once(self, tasks: asyncio.TaskGroup) -> None:
        """Start and end watches as a list of the namespaces requires, then follow the changes from there.

        A watch that was open for a while may be cut: the next list shows what came after it.
        """
        selected: set[str] = set()
        version = ""
        async with aclosing(pages(self._list_watch, Memory())) as listed:  # kept from its entry's, which may be full
            async for page in listed:
                version = page.version
                selected |= {item.meta.name for item in page.items}
        for namespace in self._running.keys() - selected:
            self._end(namespace, tasks)
        await self._leave_others(selected, tasks)
        for namespace in sorted(selected):
            self._begin(namespace, tasks)
        self._say_what_is_needed()
        opened = math.inf
        try:
            async with aclosing(self._list_watch.watch(version)) as stream:
                async for changes in stream:
                    opened = min(opened, time.monotonic())
                    self._recovery.resolve()
                    self._follow(changes, tasks)
        except Cut:
            if time.monotonic() - opened < INSTANT_SECONDS:
                raise

    def _follow(self, changes: list[Change], tasks: asyncio.TaskGroup) -> None:
        for change in changes:
            if change.type == "DELETED":
                self._end(change.meta.name, tasks)
            elif change.type != "BOOKMARK":
                self._begin(change.meta.name, tasks)
        self._say_what_is_needed()

    def _say_what_is_needed(self) -> None:
        self._watches.session.cluster.connections.need(self._watches.base, len(self._running))

    async def _leave_others(self, selected: set[str], tasks: asyncio.TaskGroup) -> None:
        """End what an earlier process, or an earlier manifest, watched elsewhere."""
        keys = {self._watches.key(namespace) for namespace in selected | self._ending.keys()}
        for key, namespace in (await self._watches.others(keys)).items():
            if key == self._watches.key(namespace):
                self._leave(namespace, tasks)
            else:
                await self._watches.leave(namespace, key)  # it may have the objects of a selected namespace too

    def _begin(self, namespace: str, tasks: asyncio.TaskGroup) -> None:
        if namespace not in self._running:
            self._running[namespace] = tasks.create_task(self._watch(namespace, self._ending.get(namespace)))

    async def _watch(self, namespace: str, ending: asyncio.Task[None] | None) -> None:
        if ending is not None:
            await asyncio.wait({ending})  # selected again while it is being left: its old end comes first
        await self._watches.watch(namespace, self._watches.key(namespace)).run()

    def _end(self, namespace: str, tasks: asyncio.TaskGroup) -> None:
        watch = self._running.pop(namespace, None)
        if watch is not None:
            watch.cancel()
            if namespace not in self._ending:  # else the watch still waits for that end and has not begun
                self._leave(namespace, tasks, watch)

    def _leave(self, namespace: str, tasks: asyncio.TaskGroup, watch: asyncio.Task[None] | None = None) -> None:
        """Start a task of its own, because reading to the end takes seconds."""
        self._ending[namespace] = tasks.create_task(self._leave_after(watch, namespace))

    async def _leave_after(self, watch: asyncio.Task[None] | None, namespace: str) -> None:
        if watch is not None:
            await asyncio.wait({watch})
        key = self._watches.key(namespace)
        await Recovery(self._watches.session, key).until_done(partial(self._watches.leave, namespace, key))
        del self._ending[namespace]
