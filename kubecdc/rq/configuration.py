"""What a job of RQ needs to know, from the environment of RQ's worker."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from kubecdc.cli.buses import holder
from kubecdc.cli.manifests.loading import Manifests, load
from kubecdc.cluster.connection import Cluster
from kubecdc.errors import UsageError
from kubecdc.manifest.mounts import CONFIGS, SECRETS, Mounts
from kubecdc.storage.contracts.types import ClusterAccess, Opening
from kubecdc.storage.manifest import EventBus
from kubecdc.watcher.election.settings import home_namespace
from kubecdc.workers.addresses import Addresses
from kubecdc.workers.sensor.manifest import Dependency, Sensor, Trigger

VARIABLE = "KUBECDC_MANIFESTS"


@dataclass(frozen=True)
class Configured:
    """A trigger in the manifests and the dependency of a subscription, with its Sensor and its EventBus."""

    bus: EventBus
    sensor: Sensor
    trigger: Trigger
    dependency: Dependency


def configured(subscription: str) -> Configured:
    """The trigger of a subscription. Raises UsageError if there is none, or a manifest has problems."""
    manifests = _manifests()
    for sensor in manifests.sensors.values():
        for name, trigger, dependency in sensor.subscriptions():
            if name == subscription:
                return Configured(manifests.buses[sensor.spec.event_bus_name], sensor, trigger, dependency)
    raise UsageError(
        f"no Sensor has the subscription {subscription!r}",
        hint=f"name the manifests of all Sensors of the bus in {VARIABLE}, or give this queue to other workers",
    )


def opening() -> Opening:
    """How to open the bus: Secrets and ConfigMaps are where `kubecdc work` looks for them by its variables."""
    mounts = Mounts(
        Path(os.environ.get("KUBECDC_SECRETS_DIR", SECRETS)), Path(os.environ.get("KUBECDC_CONFIGMAPS_DIR", CONFIGS))
    )
    cluster = ClusterAccess(lambda: Cluster(None, None), home_namespace())
    return Opening(holder=holder(), cluster=cluster, create=False, mounts=mounts)


def addresses() -> Addresses:
    """Where triggers may connect to, as the variables of `kubecdc work` say. Raises UsageError."""
    names = "KUBECDC_ALLOW_ADDRESSES", "KUBECDC_DENY_ADDRESSES"
    given = [os.environ.get(name) for name in names]
    try:
        return Addresses.parse(*([text] if text else [] for text in given))
    except ValueError as e:
        raise UsageError(f"{' and '.join(names)}: {e}", hint="correct the environment of this worker") from e


def _manifests() -> Manifests:
    paths = os.environ.get(VARIABLE, "")
    if not paths:
        raise UsageError(
            f"the environment variable {VARIABLE} is not set",
            hint=f"name the manifests in it, files or directories, with `{os.pathsep}` between them",
        )
    return load(paths.split(os.pathsep), stdin=sys.stdin)
