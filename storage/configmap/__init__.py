"""Checkpoints in a ConfigMap, for a bus that cannot hold its own, in a cluster without other storage."""

from kubecdc.storage.configmap.config_map import ConfigMaps, Conflict
from kubecdc.storage.configmap.store import ConfigMapCheckpoints, ConfigMapSettings

__all__ = ["ConfigMapCheckpoints", "ConfigMapSettings", "ConfigMaps", "Conflict"]
