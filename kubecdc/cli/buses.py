"""Selects and opens the buses that the manifests declare."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from kubecdc.cli import logs, options
from kubecdc.cli.manifests.loading import Manifests
from kubecdc.cluster.contents import RESOURCES
from kubecdc.errors import KubecdcError, UsageError
from kubecdc.storage import access as store_access
from kubecdc.storage.contracts import Bus, LeadTimes, SubscriptionSpec
from kubecdc.storage.contracts.types import Opening
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.opening import opened

T = TypeVar("T")


def holder() -> str:
    """The name of this process in logs and leases: ``<host>/<pid>``."""
    return f"{socket.gethostname()}/{os.getpid()}"


def opening(*, create: bool = True, lead: LeadTimes | None = None) -> Opening:
    """The settings to open buses with: the current command's options for Secrets and for the cluster."""
    logs.keep_off_stdout()
    return Opening(
        holder=holder(),
        cluster=options.cluster_access(),
        create=create,
        mounts=options.mounted(),
        lead=lead or LeadTimes(),
    )


def subscriptions_of(manifests: Manifests, bus: EventBus) -> list[SubscriptionSpec]:
    """All subscriptions of a bus in the manifests: the triggers of the Sensors, then its own `subscriptions`."""
    from kubecdc.workers.plan import subscriptions

    own = [SubscriptionSpec(s.name, s.event_source_name, s.event_name) for s in bus.spec.subscriptions]
    return subscriptions(s for s in manifests.sensors.values() if s.spec.event_bus_name == bus.name) + own


def place_of(bus: EventBus, *, state: bool) -> str:
    """Where in the cluster the checkpoints of a bus are, or else its ``state``. Empty if it is not in the cluster."""
    home = options.cluster_access().namespace
    rules = store_access.rules_of(bus, home, state=state)
    kinds = {plural: kind for kind, plural in RESOURCES.items()}
    places = [(kinds.get(r.resource.resource, r.resource.resource), r.resource.namespace, r.name) for r in rules]
    where = ", ".join(f"{kind} {namespace}/{name}" for kind, namespace, name in places)
    return where + ("; -n names another namespace" if home in {namespace for _, namespace, _ in places} else "")


def paused_in(manifests: Manifests) -> list[str]:
    """The subscriptions whose triggers have ``paused: true``."""
    return [name for s in manifests.sensors.values() for name, trigger, _ in s.subscriptions() if trigger.paused]


def buses_named(manifests: Manifests, names: Iterable[str]) -> list[EventBus]:
    """The buses with these names, each once, in the order of the manifests."""
    wanted = set(names)
    return [bus for name, bus in manifests.buses.items() if name in wanted]


def no_subscription(name: str) -> KubecdcError:
    """The error for a name that no subscription of the buses has."""
    return KubecdcError(f"there is no subscription {name!r}", hint="`kubecdc bus show` lists them")


def require_capability(capable: bool, manifest: EventBus, what: str) -> None:
    """Raise UsageError if the bus does not have the capability that a command needs. ``what`` is the action."""
    if not capable:
        raise UsageError(f"the bus {manifest.name} cannot {what}: its type does not support it")


def on_each(
    manifests: Manifests,
    do: Callable[[Bus, EventBus], Awaitable[list[T]]],
    *,
    only: str | None = None,
    lead: LeadTimes | None = None,
    create: bool = False,
) -> list[T]:
    """Call ``do`` on every bus, or on the one named ``only``, and return all results.

    A bus that does not exist is created only with ``create``.
    """
    how = opening(create=create, lead=lead)

    async def each() -> list[T]:
        found: list[T] = []
        for manifest in chosen(manifests, only):
            async with opened(manifest, how) as bus:
                found += await do(bus, manifest)
        return found

    return asyncio.run(each())


def on_one(manifests: Manifests, name: str | None, do: Callable[[Bus, EventBus], Awaitable[T]]) -> T:
    """Call ``do`` on the bus of that name, or on the only bus, and return its result.

    The bus is not created. Raises UsageError for an unknown name, and if there are several buses and no name.
    """
    found = chosen(manifests, name)
    if len(found) > 1:
        names = ", ".join(manifest.name for manifest in found)
        raise UsageError(f"there are several buses: {names}", hint="name one with --bus")

    how = opening(create=False)

    async def one() -> T:
        async with opened(found[0], how) as bus:
            return await do(bus, found[0])

    return asyncio.run(one())


def chosen(manifests: Manifests, name: str | None) -> list[EventBus]:
    """The buses of the manifests, or only the one of that name. Raises UsageError if there is none."""
    if name is None:
        return list(manifests.buses.values())
    if name not in manifests.buses:
        raise UsageError(f"there is no EventBus {name!r}", hint=f"the manifests have {', '.join(manifests.buses)}")
    return [manifests.buses[name]]
