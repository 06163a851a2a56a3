"""`kubecdc audit`: compares the inventory in the bus with the cluster."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from kubecdc.cli import logs, options
from kubecdc.cli.buses import on_each
from kubecdc.cli.election import from_options
from kubecdc.cli.manifests.loading import load
from kubecdc.cli.option import option
from kubecdc.cli.output import Output, View
from kubecdc.counts import counted
from kubecdc.errors import UsageError
from kubecdc.storage.contracts import Bus
from kubecdc.storage.manifest import EventBus
from kubecdc.watcher.audit import command
from kubecdc.watcher.audit.command import Found

COLUMNS = ("watch", "kind", "namespace", "name", "inventory", "cluster")


@click.command()
@options.manifests
@options.access
@options.cluster
@options.lease
@options.output
@options.logs
@click.option(
    "--repair",
    is_flag=True,
    help="Let the leader publish an event for each difference. If there is no leader, this process leads.",
)
@option(
    "--patience",
    type=click.FloatRange(min=0),
    default=150.0,
    show_default=True,
    help="Seconds to wait for the watcher to catch up. On a quiet resource, its position advances about once a minute.",
)
def audit(
    filenames: tuple[str, ...],
    output: Output,
    repair: bool,
    patience: float,
    log_format: str | None,
    log_level: str,
    **lease: Any,
) -> int:
    """Compare the inventory in the bus with the cluster, while the watcher is running.

    Prints each difference that no event explains. There should be none. Exit code 1 if there are any, unless --repair
    has repaired them.
    """
    logs.configure(log_format, log_level)
    election = from_options(**lease)
    access = options.cluster_access()
    manifests = load(filenames, stdin=sys.stdin)
    if not manifests.sources:
        raise UsageError("the manifests have no EventSource: nothing to audit", hint="add one with -f")

    async def audit_bus(bus: Bus, manifest: EventBus) -> list[Found]:
        sources = [s for s in manifests.sources.values() if s.spec.event_bus_name == manifest.name]
        if not sources:
            return []
        async with access.connect() as cluster:
            if not repair:
                return await command.inspect(bus, sources, cluster, patience=patience)
            elector = election.elector(bus, manifest, cluster)
            return await command.repair(bus, sources, cluster, elector, patience=patience)

    found = on_each(manifests, audit_bus, lead=election.lead)
    rows = _rows(found)
    objects = sum(f.objects for f in found)
    clean = f"no difference: {counted(objects, 'object')} under {counted(len(found), 'checkpoint')}"
    output.show(rows, View(COLUMNS, empty=clean))
    if rows and repair:
        click.echo(f"{len(rows)} repaired", err=True)
    return 1 if rows and not repair else 0


def _rows(found: Sequence[Found]) -> list[dict[str, Any]]:
    return [{"watch": f.key, **asdict(difference)} for f in found for difference in f.differences]
