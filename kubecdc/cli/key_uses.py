"""The keys of Secrets and ConfigMaps that manifests refer to: who needs them, and whether they can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from kubecdc.cluster.access_reviews import AccessProblem
from kubecdc.cluster.access_rule import AccessRule
from kubecdc.cluster.contents import RESOURCES
from kubecdc.cluster.keys import Keys
from kubecdc.cluster.resource import Resource
from kubecdc.manifest.mounts import Mounts, Unreadable
from kubecdc.manifest.secrets import KeyRef, located_refs
from kubecdc.storage.contracts.types import ClusterAccess
from kubecdc.storage.encryption.sealing import MAKE, key_bytes
from kubecdc.storage.manifest import EventBus
from kubecdc.workers.access import place
from kubecdc.workers.sensor.manifest import Sensor


@dataclass(frozen=True)
class KeyUse:
    """A reference in a manifest. ``chosen``: a parameter writes it, so that the object is known with the event only.

    ``form`` raises ValueError for a content that is of no use.
    """

    where: str
    namespace: str
    ref: KeyRef
    chosen: bool = False
    form: Callable[[bytes], object] = bytes

    @property
    def rule(self) -> AccessRule:
        """What reading it needs if it is not mounted."""
        return AccessRule(Resource("", "v1", RESOURCES[self.ref.kind], self.namespace), ("get",), self.ref.name)


def of_sensors(sensors: Iterable[Sensor], home: str) -> Iterator[KeyUse]:
    """What the triggers refer to. ``home`` is for manifests without a namespace."""
    for sensor in sensors:
        namespace = sensor.metadata.namespace or home
        for location, _, action in sensor.actions:
            for path, ref in located_refs(action.template.config):
                chosen = any(f"{path}.name.".startswith(f"{written}." if written else "") for written in action.written)
                yield KeyUse(f"{place(sensor, location, action)}.{path}", namespace, ref, chosen)


def of_buses(buses: Iterable[EventBus], home: str) -> Iterator[KeyUse]:
    """What the buses refer to, and their checkpoint stores."""
    for bus in buses:
        spec = bus.spec
        for part in (spec.queue,) if spec.queue_type.holds_checkpoint else (spec.queue, spec.store):
            yield from _of_bus(bus, home, located_refs(part))
        yield from _of_bus(bus, home, located_refs(spec.encryption, "encryption"), form=key_bytes)


def _of_bus(
    bus: EventBus, home: str, refs: Iterable[tuple[str, KeyRef]], *, form: Callable[[bytes], object] = bytes
) -> Iterator[KeyUse]:
    namespace = bus.metadata.namespace or home
    return (KeyUse(f"EventBus {bus.name}, {path}", namespace, ref, form=form) for path, ref in refs)


async def check(access: ClusterAccess, mounts: Mounts, uses: Iterable[KeyUse]) -> tuple[list[AccessProblem], list[str]]:
    """Read all keys. Returns what is not there or of no use, and notices of what only the pods can tell.

    Raises Unreadable if the cluster cannot be asked.
    """
    problems: list[AccessProblem] = []
    notices: list[str] = []
    async with aclosing(access.shared()) as cluster:
        for use in uses:
            if use.chosen:
                continue
            try:
                use.form(await Keys(mounts, cluster, use.namespace).content(use.ref))
            except ValueError as e:
                problems.append(AccessProblem(use.where, f"{use.ref} {e}", MAKE))
            except Unreadable as e:
                if e.ours:
                    raise
                text, _, hint = str(e).partition("; ")
                if e.denied:
                    notices.append(f"{use.where}: {text}: the pods need it mounted, or `get` on it")
                else:
                    problems.append(AccessProblem(use.where, text, hint))
    return problems, notices
