"""The checkpoint store ``configMap``."""

from __future__ import annotations

from collections.abc import Sequence

from kubecdc.cluster.access_rule import AccessRule
from kubecdc.manifest.fields import DEFAULT_BUS
from kubecdc.storage.configmap.manifest import STATE, ConfigMapCheckpoint
from kubecdc.storage.contracts.types import Opening, Store, StoreType

VERBS = ("get", "create", "update")
NAME = "kubecdc-checkpoint"


class ConfigMapStore(StoreType[ConfigMapCheckpoint]):
    """Stores all checkpoints of a bus in one ConfigMap, and its state in another. It elects no leader."""

    model = ConfigMapCheckpoint
    example = f"{{name: {NAME}}}"
    elsewhere = "a ConfigMap"
    default = True

    def store(self, spec: ConfigMapCheckpoint, bus: str) -> str:
        return "ConfigMap " + "/".join(_place(spec, bus, "")).removeprefix("/")

    def rules(self, spec: ConfigMapCheckpoint, bus: str, namespace: str, *, state: bool) -> Sequence[AccessRule]:
        from kubecdc.storage.configmap import cluster

        namespace, name = _place(spec, bus, namespace)
        purpose, named = (cluster.STATE, name + STATE) if state else (cluster.CHECKPOINT, name)
        return [AccessRule(cluster.resource(namespace), VERBS, named, role=purpose.role)]

    async def open(self, spec: ConfigMapCheckpoint, bus: str, opening: Opening) -> Store:
        """Open the store. It connects to the cluster on first use of checkpoints, or of the state.

        So a worker needs access only if its queue keeps state.
        """
        from kubecdc.storage.configmap.opened import OpenedStore

        namespace, name = _place(spec, bus, opening.cluster.namespace)
        return OpenedStore(opening.cluster, namespace, name, name + STATE)


def _place(spec: ConfigMapCheckpoint, bus: str, namespace: str) -> tuple[str, str]:
    """Namespace and name of the ConfigMap of checkpoints. ``namespace`` is the default."""
    return spec.namespace or namespace, spec.name or (NAME if bus == DEFAULT_BUS else f"{NAME}-{bus}")
