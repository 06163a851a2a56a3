"""The audit command: compares what the bus knows with the cluster, from a process beside the leader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import msgspec

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import Expired
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.versions import older
from kubecdc.concurrency import run_until_first
from kubecdc.current import Current
from kubecdc.errors import KubecdcError, Refused, most_relevant
from kubecdc.storage.contracts import Bus, Checkpoint, CheckpointDelta, Elector, State, Term
from kubecdc.storage.contracts.errors import CommitMismatch, LeadershipLost
from kubecdc.watcher import watcher
from kubecdc.watcher.audit.comparison import Difference, audit
from kubecdc.watcher.capture.diff import resource_of
from kubecdc.watcher.capture.identity import cluster_uid
from kubecdc.watcher.capture.memory import Memory
from kubecdc.watcher.capture.reasons import ASKED, RanBackwards
from kubecdc.watcher.manifest import EventSource, entries_of
from kubecdc.watcher.ongoing_problems import OngoingProblems

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Found:
    """The differences that an audit found among the objects under one checkpoint."""

    key: str
    objects: int
    differences: list[Difference]


async def inspect(bus: Bus, sources: Sequence[EventSource], cluster: Cluster, *, patience: float) -> list[Found]:
    """Audit every checkpoint of the sources, waiting at most `patience` seconds for the watcher to catch up.

    Raises Refused for another cluster, ApiError, and KubecdcError where there is no checkpoint to compare.
    """
    uid = await cluster_uid(cluster, OngoingProblems())
    found: list[Found] = []
    for source in sources:
        for name, entry in source.spec.resource.items():
            base = f"{source.name}/{name}"
            if entry.inventory == "none":
                continue
            checkpoints = await _under(bus, base)
            found += [await _inspect(bus, checkpoint, cluster, uid, patience) for checkpoint in checkpoints]
    return found


async def _inspect(bus: Bus, checkpoint: Checkpoint, cluster: Cluster, uid: str, patience: float) -> Found:
    key = checkpoint.key
    state = await _quiet(bus, key, patience)
    if uid and state.selection.cluster not in {"", uid}:
        raise Refused(
            f"{key}: the checkpoint was made for another cluster than {cluster.host}", hint="select the right context"
        )

    async def wait_for_position(version: str) -> None:
        async def behind() -> bool:
            now = await _state(bus, key)
            return bool(now.listing) or older(now.position, version)

        await _until_not(behind, patience, f"{key} has not reached version {version}")

    list_watch = ListWatch(cluster, resource_of(state.selection))
    compare = partial(audit, list_watch, Memory(), lambda: bus.checkpoints.inventory(key), wait_for_position)
    try:
        try:
            differences = await compare()
        except Expired:  # its pages outlived the server's history, or are of different moments
            differences = await compare()
    except RanBackwards:
        raise KubecdcError(
            f"{key}: the cluster is older than the checkpoint: it was restored from a backup",
            hint="`kubecdc watch` repairs this when it connects again",
        ) from None
    return Found(key, len(await bus.checkpoints.inventory(key)), differences)


async def repair(
    bus: Bus, sources: Sequence[EventSource], cluster: Cluster, elector: Elector, *, patience: float
) -> list[Found]:
    """`inspect`, then have the leader repair what differs, and wait until it has.

    Meanwhile this process is a candidate for the lead like every watcher: it stands by while another process leads, and
    leads if none does. It has given up the lead when this returns.
    """
    found: list[Found] = []

    async def look() -> None:
        found.extend(await inspect(bus, sources, cluster, patience=patience))
        keys = [f.key for f in found if f.differences]
        for key in keys:
            await _mark(bus, key)
        for key in keys:
            await _quiet(bus, key, patience)

    try:
        await run_until_first(look(), watcher.run(bus, Current(entries_of(sources)), cluster, elector))
    except BaseExceptionGroup as group:
        raise most_relevant(group) from group
    return found


async def _mark(bus: Bus, key: str) -> None:
    """Ask the leader for a list. It finds the mark when its next commit no longer follows the checkpoint."""
    while True:
        checkpoint = await bus.checkpoints.checkpoint(key)
        if checkpoint is None or checkpoint.state is None:
            return None
        delta = CheckpointDelta(
            follows=checkpoint.number, state=msgspec.structs.replace(checkpoint.state, listing=ASKED)
        )
        term = Term(await bus.checkpoints.newest_term(), "kubecdc audit")
        with suppress(CommitMismatch, LeadershipLost):  # the leader has just committed, or has changed
            return await bus.checkpoints.save(key, delta, term=term)


async def _under(bus: Bus, base: str) -> list[Checkpoint]:
    found = [c for c in await bus.checkpoints.checkpoints() if c.state and _belongs(c.key, c.state, base)]
    if not found:
        raise KubecdcError(f"{base} has no checkpoint yet", hint="start `kubecdc watch` first")
    return found


def _belongs(key: str, state: State, base: str) -> bool:
    return key in {base, f"{base}/{state.selection.namespace}"}


async def _state(bus: Bus, key: str) -> State:
    checkpoint = await bus.checkpoints.checkpoint(key)
    if checkpoint and checkpoint.state:
        return checkpoint.state
    raise KubecdcError(f"the checkpoint {key} was reset meanwhile", hint="run the audit again")


async def _quiet(bus: Bus, key: str, patience: float) -> State:
    """The state once no list is under way."""

    async def listing() -> bool:
        return bool((await _state(bus, key)).listing)

    await _until_not(listing, patience, f"{key} has not finished its list")
    return await _state(bus, key)


async def _until_not(condition: Callable[[], Awaitable[bool]], patience: float, what: str) -> None:
    try:
        async with asyncio.timeout(patience):
            while await condition():  # noqa: ASYNC110 - another process changes the condition
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise KubecdcError(f"{what} within {patience:g} s", hint="is `kubecdc watch` running?") from None
