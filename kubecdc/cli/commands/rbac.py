"""`kubecdc rbac`: writes the roles that the manifests need."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click
import yaml

from kubecdc.cli import options
from kubecdc.cli.buses import buses_named
from kubecdc.cli.manifests.loading import Manifests, load
from kubecdc.cli.option import option
from kubecdc.cluster.access_rule import AccessRule
from kubecdc.storage.manifest import EventBus

WATCHER, WORKERS = "kubecdc-watch", "kubecdc-work"
WIDTH = 56  # of YAML: of a list or mapping in one line, only the last part may be beyond it


@click.command()
@options.manifests
@option(
    "-n",
    "--namespace",
    metavar="NAME",
    help="Namespace of the pods, their service accounts, Lease and ConfigMaps, and of objects that name none.  "
    "[default: the pod's namespace, or `default`]",
)
@option(
    "--cluster",
    "against_cluster",
    is_flag=True,
    help="Ask the API server for the plural and scope of each kind. Without it, they are guessed.",
)
@options.cluster
@options.election
def rbac(filenames: tuple[str, ...], namespace: str | None, against_cluster: bool, **election: Any) -> None:
    """Print the service accounts, Roles and bindings that the manifests need, for `kubectl apply -f -`.

    The watcher and the workers each get an account. `kubecdc run` needs the permissions of both. A ClusterRole is
    printed only for what is needed in all namespaces. The Roles grant `get` on each Secret and ConfigMap that the
    manifests refer to, by name. Remove those rules if the pods mount them. Roles that end in `-optional` allow
    Kubernetes Events on the Deployments of the pods (gaps, lost leads, triggers that fail for all objects). Without
    them, you find the same in the log and the metrics.
    """
    manifests = load(filenames, stdin=sys.stdin)
    home = namespace or options.cluster_access().namespace
    watched, worked = list(_watcher(manifests, home, election)), list(_workers(manifests, home))
    if against_cluster:
        worked = asyncio.run(_corrected(worked))
    from kubecdc.cli.roles import of_account
    from kubecdc.cluster import recorder

    documents = [
        *(of_account(WATCHER, home, watched, recorder.rules(home)) if watched else ()),
        *(of_account(WORKERS, home, worked, recorder.rules(home) if _needs_token(worked) else ()) if worked else ()),
    ]
    if not documents:
        click.echo("notice: the manifests need no permission in the cluster", err=True)
        return
    click.echo(yaml.safe_dump_all(documents, sort_keys=False, default_flow_style=None, width=WIDTH), nl=False)


def _needs_token(rules: list[AccessRule]) -> bool:
    """Whether the pods use the cluster at all. Secrets and ConfigMaps that are only read may be mounted."""
    return any(rule.verbs != ("get",) or rule.resource.resource not in {"secrets", "configmaps"} for rule in rules)


def _buses(manifests: Manifests, *, watch: bool) -> list[EventBus]:
    used = manifests.sources if watch else manifests.sensors
    return buses_named(manifests, [manifest.spec.event_bus_name for manifest in used.values()])


def _watcher(manifests: Manifests, home: str, given: Mapping[str, Any]) -> Iterator[AccessRule]:
    from kubecdc.cli import key_uses
    from kubecdc.cli.election import from_options
    from kubecdc.storage import access as store_access
    from kubecdc.watcher import access
    from kubecdc.watcher.election import lease as lease_object

    election = from_options(**{**given, "lease_namespace": given["lease_namespace"] or home})
    for source in manifests.sources.values():
        yield from access.rules_of(source)
    for bus in _buses(manifests, watch=True):
        yield from store_access.rules_of(bus, home, state=False)
        yield from (use.rule for use in key_uses.of_buses([bus], home))
        if election.by_lease(bus):
            lease = election.lease_of(bus)
            yield AccessRule(lease_object.resource(lease.namespace), lease_object.VERBS, lease.name)


def _workers(manifests: Manifests, home: str) -> Iterator[AccessRule]:
    from kubecdc.cli import key_uses
    from kubecdc.storage import access as store_access
    from kubecdc.workers import access

    for sensor in manifests.sensors.values():
        for _, _, trigger in sensor.actions:
            rules = access.rules_of(sensor, trigger, home)
            if not rules and trigger.template.trigger_type.uses_cluster:
                what = f"Sensor {sensor.name}, trigger {trigger.name}"
                click.echo(
                    f"notice: {what}: the object depends on the event, or is not in the manifests: add a rule for it",
                    err=True,
                )
            yield from rules
    for use in key_uses.of_sensors(manifests.sensors.values(), home):
        if use.chosen:
            click.echo(f"notice: {use.where}: the {use.ref.kind} depends on the event: add a rule for it", err=True)
        else:
            yield use.rule
    for bus in _buses(manifests, watch=False):
        yield from store_access.rules_of(bus, home, state=True)
        yield from (use.rule for use in key_uses.of_buses([bus], home))


async def _corrected(rules: list[AccessRule]) -> list[AccessRule]:
    from kubecdc.cluster.discovery import Discovery
    from kubecdc.workers.access import corrected

    async with options.cluster_access().connect() as cluster:
        discovery = Discovery(cluster)
        return [await corrected(discovery, rule) for rule in rules]
