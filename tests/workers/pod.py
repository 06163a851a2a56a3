"""What is mounted into a pod, for triggers that read Secrets and ConfigMaps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubecdc.cluster.keys import Keys
from kubecdc.cluster.shared import SharedCluster
from kubecdc.manifest.mounts import Mounts
from kubecdc.workers.outcome import Outcome
from kubecdc.workers.route import Route, build
from kubecdc.workers.triggers.contract import Context
from tests.workers.support import event, http_trigger, sensor


@dataclass
class Pod:
    """What is mounted into a pod, and triggers that run in it."""

    mounts: Mounts
    cluster: SharedCluster | None = None

    @property
    def keys(self) -> Keys:
        return Keys(self.mounts, self.cluster)

    def mount(self, name: str, **keys: str | bytes) -> None:
        """A Secret; underscores in keys stand for dots."""
        self._write(self.mounts.secrets / name, keys)

    def mount_config(self, name: str, **keys: str | bytes) -> None:
        self._write(self.mounts.configs / name, keys)

    def _write(self, folder: Path, keys: Mapping[str, str | bytes]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in keys.items():
            (folder / key.replace("_", ".")).write_bytes(value.encode() if isinstance(value, str) else value)

    @asynccontextmanager
    async def route(self, url: str, http: Mapping[str, Any], **more: Any) -> AsyncIterator[Route]:
        made = sensor(http_trigger(url, http, **more))
        manifest = made.spec.triggers[0]
        trigger = build(manifest, Context("s", 4, keys=self.keys))
        try:
            yield Route(made, manifest, trigger)
        finally:
            await trigger.close()

    async def send(self, url: str, http: Mapping[str, Any], **more: Any) -> Outcome:
        async with self.route(url, http, **more) as route:
            return await route.trigger.execute(route.request(event()))


def ref(name: str, key: str) -> dict[str, str]:
    return {"name": name, "key": key}


def secret_header(name: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": ref(secret, key)}}


TOKEN = {"secureHeaders": [secret_header("X-Token", "api", "token")]}
LOGIN = {"basicAuth": {"username": ref("login", "user"), "password": ref("login", "password")}}
SECRET = "s3cr3t-value"
