"""`kubecdc try`: shows what the Sensors do with an event."""

from __future__ import annotations

import asyncio
import sys

import click
import msgspec

from kubecdc.cli import logs, options
from kubecdc.cli.addresses import addresses as limits
from kubecdc.cli.event_files import STDIN, read
from kubecdc.cli.made_events import Wanted, of_object, samples
from kubecdc.cli.manifests.loading import Manifests, load
from kubecdc.cli.option import option
from kubecdc.cli.trying import try_sensors
from kubecdc.errors import UsageError
from kubecdc.storage.contracts.event import Action, Event
from kubecdc.storage.contracts.types import ClusterAccess
from kubecdc.workers.addresses import Addresses


@click.command("try")
@options.manifests
@option(
    "--event",
    "event_files",
    multiple=True,
    metavar="FILE",
    help="File with a CloudEvent in structured JSON, or - for stdin. "
    "Repeatable, for `conditions`: the events arrive in this order.",
)
@option(
    "--object",
    "object_",
    metavar="KIND/NAME",
    help="Make the event from this object of the cluster, as the EventSources would: deployments/web.",
)
@option(
    "-n",
    "--namespace",
    default="",
    metavar="NAME",
    help="Namespace of the object.  [default: the namespace of the entry]",
)
@option(
    "--type",
    "action",
    type=click.Choice(["ADD", "UPDATE", "DELETE"]),
    help="Type of the event that is made from --object.",
)
@option("--sample", is_flag=True, help="Print a sample event for each entry of the EventSources, to edit and try.")
@click.option(
    "--execute",
    is_flag=True,
    help="Run each matching trigger once. Output of triggers to stdout is written to stderr.",
)
@limits
@options.mounts
@options.cluster
@options.cluster_name
def try_(
    filenames: tuple[str, ...],
    event_files: tuple[str, ...],
    object_: str | None,
    namespace: str,
    action: Action | None,
    sample: bool,
    execute: bool,
    addresses: Addresses,
) -> int:
    """Test the Sensors with an event, without a bus.

    The event comes from a file, or is made from an object of the cluster.

    Prints JSON for each trigger and each dependency that it needs, on one line, or indented on a terminal: whether the
    event matches, and what the trigger would do, with secrets replaced by ***. Triggers run only with `--execute`. Exit
    code 1 if a trigger did not succeed, or if its request cannot be built from the event.
    """
    if sum(map(bool, (event_files, object_, sample))) != 1:
        raise UsageError("give one of --event, --object and --sample", hint="`--sample` prints an event to start from")
    if [*event_files, *filenames].count(STDIN) > 1:
        raise UsageError(
            "standard input can be used only once, for manifests (-f) or for an event", hint="use files for the others"
        )
    logs.configure(None, "warning")
    manifests = load(filenames, stdin=sys.stdin, to_run=True)
    access = options.cluster_access()
    if sample:
        return _print_samples(manifests)
    if not manifests.sensors:
        raise UsageError("the manifests have no Sensor: nothing to try", hint="add one with -f")
    if object_:
        events = asyncio.run(_of_object(access, manifests, Wanted.parse(object_, namespace, action)))
    else:
        events = [read(file) for file in event_files]
    sensors = list(manifests.sensors.values())
    given = {"mounts": options.mounted(), "addresses": addresses}
    return asyncio.run(try_sensors(sensors, events, given, access, execute=execute))


def _print_samples(manifests: Manifests) -> int:
    if not manifests.sources:
        raise UsageError("the manifests have no EventSource", hint="add one with -f")
    for event in samples(manifests.sources):
        click.echo(msgspec.json.format(event.encode(), indent=2))
    return 0


async def _of_object(access: ClusterAccess, manifests: Manifests, wanted: Wanted) -> list[Event]:
    async with access.connect() as cluster:
        events, notices = await of_object(cluster, manifests.sources, wanted)
    for notice in notices:
        click.echo(f"notice: {notice}", err=True)
    return events
