"""The watcher of one bus: stand by, lead, and while leading watch every entry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.list_watch import Api
from kubecdc.cluster.resource import Resource
from kubecdc.errors import KubecdcError
from kubecdc.storage.contracts import Bus, Elector, Term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.watcher import manifest as manifests
from kubecdc.watcher import metrics
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.capture.identity import Identity
from kubecdc.watcher.manifest import EventSource
from kubecdc.watcher.namespaces import Places, watch_entry
from kubecdc.watcher.ongoing_problems import Notices
from kubecdc.watcher.pipeline import Watch

log = structlog.get_logger()
HAND_OVER_SECONDS = 5.0  # for what is left to write; a process that is told to go must go


async def run(bus: Bus, sources: Sequence[EventSource], cluster: Cluster, elector: Elector | None = None) -> None:
    """Until cancelled. Without an elector, the bus's own. Raises Refused (in an ExceptionGroup) where only an operator
    can decide."""
    elector = elector or bus.elector
    timelines: dict[str, int] = {}
    while True:
        try:
            async with elector.lead() as term:
                metrics.LEADER.set(1)
                try:
                    await lead(bus, sources, cluster, term, timelines)
                except* LeadershipLost as lost:
                    _stand_by(lost.exceptions[0])
                finally:
                    metrics.LEADER.set(0)
        except LeadershipLost as lost:
            _stand_by(lost)


def _stand_by(reason: BaseException) -> None:
    log.warning("no longer the leader, standing by", reason=str(reason))


async def lead(
    bus: Bus,
    sources: Sequence[EventSource],
    cluster: Cluster,
    term: Term,
    timelines: dict[str, int] | None = None,
) -> None:
    """Watch every entry of the sources, for as long as the term lasts. ``timelines``: see `Watch`; filled in here."""
    notices = Notices()
    identity = Identity(cluster, notices)
    try:
        async with asyncio.TaskGroup() as tasks:
            for source in sources:
                for name, manifest in source.spec.resource.items():
                    make = partial(
                        _watch, bus, cluster, term, identity, notices, timelines, source.name, name, manifest
                    )
                    places = Places(manifest, f"{source.name}/{name}", make, bus, notices)
                    tasks.create_task(watch_entry(places, cluster))
    finally:
        await _hand_over(bus)


async def _hand_over(bus: Bus) -> None:
    """Have the checkpoints written before anybody else leads. If that fails, what they lack is repeated."""
    try:
        async with asyncio.timeout(HAND_OVER_SECONDS):
            await bus.checkpoints.flush()
    except (KubecdcError, TimeoutError) as e:
        log.warning("the checkpoint could not be written at the hand-over", error=str(e), hint=getattr(e, "hint", ""))


def _watch(
    bus: Bus,
    cluster: Cluster,
    term: Term,
    identity: Identity,
    notices: Notices,
    timelines: dict[str, int] | None,
    source: str,
    name: str,
    manifest: manifests.Entry,
    namespace: str,
    key: str,
) -> Watch:
    """The watch of an entry in one namespace ("" = all), with its checkpoint under the key."""
    largest = bus.capabilities.max_event_bytes
    entry = Entry(source, name, manifest, namespace=namespace, key=key, max_event_bytes=largest)
    resource = Resource(manifest.group, manifest.version, manifest.resource, namespace, entry.labels)
    return Watch(entry, Api(cluster, resource), bus, term, identity, notices, timelines)
