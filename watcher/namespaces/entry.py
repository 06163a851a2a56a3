"""Watches one entry wherever its manifest says."""

from __future__ import annotations

import asyncio
from functools import partial

from kubecdc.watcher.namespaces.selected import SelectedNamespaces
from kubecdc.watcher.namespaces.watches import EntryWatches
from kubecdc.watcher.recovery import Recovery


async def watch_entry(watches: EntryWatches) -> None:
    """Watch until cancelled. Raises LeadershipLost, Refused."""
    manifest = watches.manifest
    await Recovery(watches.session, watches.base).until_done(watches.session.history(watches.base).begin)
    if manifest.namespace_selector is not None:
        await SelectedNamespaces(watches, manifest.namespace_selector.text).run()
        return
    keys = {ns: watches.key(ns) for ns in manifest.namespaces} or {manifest.namespace: watches.base}
    watches.session.cluster.connections.need(watches.base, len(keys))
    leave_others = partial(watches.leave_others, set(keys.values()))
    await Recovery(watches.session, watches.base).until_done(leave_others)
    async with asyncio.TaskGroup() as tasks:
        for namespace, key in keys.items():
            tasks.create_task(watches.watch(namespace, key).run())
