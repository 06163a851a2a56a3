"""The checkpoint store ``configMap``."""

from __future__ import annotations

from kubecdc.manifest.fields import DEFAULT_BUS
from kubecdc.storage.configmap.manifest import ConfigMapCheckpoint
from kubecdc.storage.contracts.types import Opening, Store, StoreType

NAME = "kubecdc-checkpoint"


class ConfigMapStore(StoreType[ConfigMapCheckpoint]):
    """Stores all checkpoints of a bus in one ConfigMap. It supports neither state nor election."""

    model = ConfigMapCheckpoint
    example = f"{{name: {NAME}}}"
    elsewhere = "a ConfigMap"
    default = True

    async def open(self, spec: ConfigMapCheckpoint, bus: str, opening: Opening) -> Store:
        """Open the store. It connects to the cluster on first use, so a worker does not need access."""
        from kubecdc.storage.configmap.opened import OpenedStore

        namespace = spec.namespace or opening.cluster.namespace
        name = spec.name or (NAME if bus == DEFAULT_BUS else f"{NAME}-{bus}")
        return OpenedStore(opening.cluster, namespace, name)
