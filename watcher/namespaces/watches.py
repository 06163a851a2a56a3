"""The watches of one entry: a single one, or one for each of several namespaces, with a checkpoint of its own.

Namespaces need no checkpoint themselves. The checkpoints in the bus tell what was watched; at each start they are
compared with what the manifest asks for now.
"""

from __future__ import annotations

from functools import partial

import structlog

from kubecdc.cluster.changes import LeftOut
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.concurrency import Limit
from kubecdc.watcher import manifest as manifests
from kubecdc.watcher import metrics
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.capture.memory import Memory
from kubecdc.watcher.namespaces import ending
from kubecdc.watcher.pipeline import Watch
from kubecdc.watcher.recovery import Recovery
from kubecdc.watcher.session import Session

log = structlog.get_logger()
ENDS = 16  # watches that are ended at a time


class EntryWatches:
    """Makes and ends the watches of one entry. ``base`` is the entry's key, `key` that of one namespace."""

    def __init__(self, session: Session, source: str, name: str, manifest: manifests.Entry, memory: Memory) -> None:
        self.session = session
        self.manifest = manifest
        self.base = f"{source}/{name}"
        self._source = source
        self._name = name
        self._memory = memory
        self._ends = Limit(ENDS)

    def key(self, namespace: str) -> str:
        """The checkpoint's key where each namespace has its own watch."""
        return f"{self.base}/{namespace}"

    def watch(self, namespace: str, key: str) -> Watch:
        """The watch in one namespace ("" = all), with its checkpoint under the key."""
        m, largest = self.manifest, self.session.bus.capabilities.max_event_bytes
        entry = Entry(self._source, self._name, m, namespace=namespace, key=key, max_event_bytes=largest)
        list_watch = ListWatch(self.session.cluster, entry.resource, left_out=partial(self._left_out, key))
        return Watch(self.session, entry, list_watch, self._memory)

    def _left_out(self, key: str, item: LeftOut) -> None:
        metrics.of(metrics.LEFT_OUT, key).value += 1
        self.session.problems.report_once(
            f"{self.base}: {item} is left out",
            code="object-left-out",
            example=item.text,
            hint="mend the API server that serves it; all other objects are captured",
        )

    async def others(self, keys: set[str]) -> dict[str, str]:
        """Where else the entry was watched before: the namespace of each such checkpoint, by key.

        One without a state belongs to a namespace that left before its first commit, or under an earlier version.
        """
        found: dict[str, str] = {}
        for checkpoint in await self.session.bus.checkpoints.checkpoints():
            key, state = checkpoint.key, checkpoint.state
            if key in keys:
                continue
            if state is None and key.startswith(self.key("")):
                found[key] = key.removeprefix(self.key(""))
            elif state is not None and key in {self.base, self.key(state.selection.namespace)}:
                found[key] = state.selection.namespace
        return found

    async def leave_others(self, keys: set[str]) -> None:
        """End the watches that are not among the keys.

        This precedes the start of the new ones: an object that both have would else end after it began.
        """
        others = await self.others(keys)
        await self._ends.map(lambda item: self._leave(item[1], item[0]), others.items())

    async def leave(self, namespace: str, key: str) -> None:
        """Read the watch to its end, announce the end of all objects known, and remove its checkpoint.

        At most `ENDS` run at a time. Raises ApiError, Malformed, Unavailable, CommitMismatch, LeadershipLost, Refused.
        """
        await self._ends.call(self._leave, namespace, key)

    async def _leave(self, namespace: str, key: str) -> None:
        watch = self.watch(namespace, key)
        writer = await watch.open_checkpoint()
        if writer.stored:
            await ending.end(watch, writer)
            await writer.next_timeline()  # for what is watched there again
            log.info("no longer watched", code="watch-ended", watch=key)
        await self._forget(key)

    async def read_on(self) -> None:
        """Commit what has changed up to now, wherever the entry is watched: its next version begins there.

        What cannot be read within some seconds is left to that, as after a restart. Raises LeadershipLost, Refused.
        """
        everywhere = await Recovery(self.session, self.base).until_done(partial(self.others, set()))
        await self._ends.map(lambda at: ending.read_on(partial(self.watch, at[1], at[0]), at[0]), everywhere.items())

    def forget(self) -> None:
        """The entry is watched no more: export and report nothing of it."""
        metrics.forget_entry(self.base)
        self.session.problems.forget(self.base)
        self.session.cluster.connections.need(self.base, 0)

    async def _forget(self, key: str) -> None:
        """Leave nothing behind of a watch that has ended, or namespaces that come and go would add up."""
        checkpoints = self.session.bus.checkpoints
        if key == self.base:
            await checkpoints.reset(key)  # its gaps are the entry's
        else:
            await checkpoints.remove(key, entry=self.base, term=self.session.term)
        self.session.timelines.pop(key, None)
        self.session.problems.resolve(key)
        metrics.forget(key)
