"""`kubecdc checkpoint`: the position of each watch."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import click
import msgspec

from kubecdc.cli import options
from kubecdc.cli.buses import on_each, place_of
from kubecdc.cli.manifests.loading import Manifests, load
from kubecdc.cli.option import option
from kubecdc.cli.output import Output, Row, View, confirm
from kubecdc.cli.positions import require_usable
from kubecdc.cli.showing import manifests_to_show, show_each
from kubecdc.errors import KubecdcError
from kubecdc.storage.contracts import Bus, Checkpoint, CheckpointDelta, Term
from kubecdc.storage.contracts.errors import CommitMismatch, LeadershipLost
from kubecdc.storage.manifest import EventBus
from kubecdc.watcher.manifest import entries_of

VIEW = View(
    ("key", "position", "listing", "objects", "commits", "epoch", "gaps"),
    ("started", "timeline", "bus"),
    "no checkpoints yet",
)
TOGETHER = 20  # checkpoints whose inventories are read at a time: there may be thousands, or large ones


@click.group()
def checkpoint() -> None:
    """Show, set or reset the positions of watches."""


@checkpoint.command("show", short_help="Print the checkpoints, and the gaps that were repaired.")
@click.argument("key", required=False)
@options.manifests
@options.access
@options.cluster
@options.watch
@options.output
def show_(filenames: tuple[str, ...], key: str | None, output: Output, watch: bool) -> None:
    """Print the checkpoints: the position, what is watched, and the repaired gaps.

    The gaps of namespaces that are no longer watched are shown with their entry.
    """
    manifests = manifests_to_show(filenames)

    async def rows(bus: Bus, manifest: EventBus) -> list[dict[str, Any]]:
        if key is not None:
            one = await bus.checkpoints.checkpoint(key) or await _gone(bus, key)
            return [await _row(bus, manifest, one)] if one else []
        all_, rows = await bus.checkpoints.checkpoints(), []
        for start in range(0, len(all_), TOGETHER):
            some = all_[start : start + TOGETHER]
            rows += await asyncio.gather(*(_row(bus, manifest, checkpoint) for checkpoint in some))
        for entry in _entries(manifests, manifest) - {checkpoint.key for checkpoint in all_}:
            if gone := await _gone(bus, entry):
                rows.append(await _row(bus, manifest, gone))
        return rows

    def required(found: list[Row]) -> list[Row]:
        if key and not found:
            raise _no_checkpoint(key)
        return found

    show_each(manifests, rows, output, replace(VIEW, empty=_none(manifests)), watch=watch, first=required)


@checkpoint.command("set")
@click.argument("key")
@option(
    "--resource-version",
    required=True,
)
@options.manifests
@options.access
@options.cluster
@options.yes
def set_(filenames: tuple[str, ...], key: str, resource_version: str, yes: bool) -> None:
    """Move a watch to another resourceVersion.

    With an older version, later changes are captured again. With a newer version, the changes in between are lost.
    A version that the cluster has not reached is refused.
    """
    access = options.cluster_access()

    async def move(bus: Bus, _: EventBus) -> list[bool]:
        found = await bus.checkpoints.checkpoint(key)
        if found is None or found.state is None:
            return []
        await require_usable(resource_version, found.state, access)
        now = found.state.listing or found.state.position
        confirm(f"Move {key} from version {now} to {resource_version}, and go on from there without a list?", yes=yes)
        return [await _move(bus, key, resource_version)]

    _require_checkpoint(on_each(load(filenames, stdin=sys.stdin), move), key)
    click.echo(f"{key} is at {resource_version}")


@checkpoint.command("reset")
@click.argument("key")
@options.manifests
@options.access
@options.cluster
@options.yes
def reset_(filenames: tuple[str, ...], key: str, yes: bool) -> None:
    """Delete the position and the inventory of a watch. It lists again, as at its first start."""

    async def reset(bus: Bus, _: EventBus) -> list[bool]:
        found = await bus.checkpoints.checkpoint(key)
        if found is None or found.state is None:
            return []
        confirm(
            f"Delete the checkpoint {key} and its inventory? Deletions that were not captured yet are lost.", yes=yes
        )
        return [await bus.checkpoints.reset(key)]

    _require_checkpoint(on_each(load(filenames, stdin=sys.stdin), reset), key)
    click.echo(f"{key} was reset")


def _require_checkpoint(done: list[bool], key: str) -> None:
    if not any(done):
        raise _no_checkpoint(key)


def _none(manifests: Manifests) -> str:
    """That there are no checkpoints, and where in the cluster they were looked for."""
    places = [place for bus in manifests.buses.values() if (place := place_of(bus, state=False))]
    return f"{VIEW.empty} in {' or '.join(places)}" if places else VIEW.empty


def _no_checkpoint(key: str) -> KubecdcError:
    return KubecdcError(f"there is no checkpoint {key!r}", hint="`kubecdc checkpoint show` lists them")


async def _move(bus: Bus, key: str, resource_version: str) -> bool:
    """Set the position. False if the checkpoint no longer exists."""
    while (found := await bus.checkpoints.checkpoint(key)) and found.state:
        state = msgspec.structs.replace(found.state, position=resource_version, listing="")
        delta = CheckpointDelta(follows=found.number, state=state)
        term = Term(await bus.checkpoints.newest_term(), "kubecdc checkpoint set")
        with suppress(CommitMismatch, LeadershipLost):  # a commit or a new leader came first: read it again
            await bus.checkpoints.save(key, delta, term=term)
            await bus.checkpoints.flush()
            return True
    return False


def _entries(manifests: Manifests, bus: EventBus) -> set[str]:
    return set(entries_of(s for s in manifests.sources.values() if s.spec.event_bus_name == bus.name))


async def _gone(bus: Bus, entry: str) -> Checkpoint | None:
    """What is left of namespaces of the entry that are no longer watched, if anything."""
    return Checkpoint(entry, 0, 0, None) if await bus.checkpoints.gaps(entry) else None


async def _row(bus: Bus, manifest: EventBus, checkpoint: Checkpoint) -> dict[str, Any]:
    state = checkpoint.state
    gaps = await bus.checkpoints.gaps(checkpoint.key)
    return {
        "key": checkpoint.key,
        "position": state.position if state else None,
        "listing": state.listing if state else None,
        "objects": len(await bus.checkpoints.inventory(checkpoint.key)),
        "commits": checkpoint.number,
        "epoch": checkpoint.term,
        "gaps": len(gaps),
        "bus": manifest.name,
        "started": state.started if state else None,
        "timeline": state.timeline if state else None,
        "selection": msgspec.to_builtins(state.selection) if state else None,
        "repairs": [asdict(gap) for gap in gaps],
    }
