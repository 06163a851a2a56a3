"""Stands in for the scheduler and the kubelet of a node: the pods of a namespace run as processes of this machine.

A process has its pod's volumes where the pod has them, its user, its host name, the token of its service account, and a
root that cannot be written. It shares the network: each container port is another one here, in the arguments too.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.apiserver import RealApiServer
from tests.apiserver.client import Body, RequestFailed, path_of
from tests.cli.serving.asking import ask
from tests.harness.mounted import Mounted
from tests.ports import free_port

NODE = "node"
SCRIPT = Path(__file__).with_name("pod.sh")
TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"
INTERPRETER = str(Path(sys.executable).resolve())
HEARTBEAT = 10.0  # seconds; the node counts as dead after 40
STEP = 0.1  # seconds between two looks at the pods
SYNC = 1.0  # seconds between two looks at the ConfigMaps that are mounted; a real one takes a minute


def require_own_mounts(folder: Path) -> None:
    """Skip the test where processes cannot have mounts of their own."""
    root, mounts = folder / "root", folder / "mounts"
    root.mkdir(parents=True)
    mounts.write_text("")
    tried = subprocess.run(
        ["unshare", "--mount", "--uts", "sh", SCRIPT, root, "65532", "65532", mounts, "true"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOSTNAME": "tried", "PYTHON": INTERPRETER},
    )
    if tried.returncode:
        pytest.skip(f"no mounts of our own: {tried.stderr}")


@dataclass
class Container:
    """The process of a pod. ``told`` is when it was told to end, 0 before."""

    pod: str
    process: subprocess.Popen[bytes]
    folder: Path
    ports: dict[int, int]
    ready: bool = False
    told: float = 0.0

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()


@dataclass
class Kubelet:
    """Runs the pods of a namespace. ``ended`` has the name and exit code of each pod that is gone."""

    api: RealApiServer
    folder: Path
    namespace: str
    containers: dict[str, Container] = field(default_factory=dict)  # by uid of the pod
    past: list[Container] = field(default_factory=list)
    ended: list[tuple[str, int]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    _beat: float = 0.0
    _synced: float = 0.0
    _config_maps: dict[Path, tuple[str, Mounted]] = field(default_factory=dict)  # by folder: the name, and its files

    def of(self, owner: str, *, past: bool = False) -> list[Container]:
        """The running containers of a Deployment, or all that it ever had."""
        found = [*self.past, *self.containers.values()] if past else [*self.containers.values()]
        return [container for container in found if container.pod.rsplit("-", 2)[0] == owner]

    @property
    def broken(self) -> bool:
        """Whether a process has failed, or this has."""
        return bool(self.failed) or self.task is None or self.task.done()

    async def run(self) -> None:
        """Until it is cancelled. A process that ends and was not told to is in ``failed``, and is not started again."""
        with suppress(RequestFailed):  # another was here before
            await self.api.create("", "v1", "nodes", "", {"metadata": {"name": NODE}})
        while True:
            if time.monotonic() - self._beat > HEARTBEAT:
                await self._say_that_the_node_lives()
            for pod in (await self.api.list("", "v1", "pods", self.namespace))["items"]:
                try:
                    await self._sync(pod)
                except RequestFailed as e:
                    if e.code not in (403, 404, 409):  # the pod has changed meanwhile, or its namespace ends
                        raise
            if time.monotonic() - self._synced > SYNC:
                await self._update_config_maps()
            await asyncio.sleep(STEP)

    def kill(self) -> None:
        for container in self.containers.values():
            container.process.kill()
            container.process.wait()

    async def _say_that_the_node_lives(self) -> None:
        self._beat = time.monotonic()
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
        beat = {"lastHeartbeatTime": now, "lastTransitionTime": now}
        status = {"conditions": [{**ready, **beat}], "allocatable": {"pods": "100"}, "capacity": {"pods": "100"}}
        await self.api.patch("", "v1", "nodes", "", NODE, {"status": status}, subresource="status")

    async def _update_config_maps(self) -> None:
        self._synced = time.monotonic()
        for name, mounted in self._config_maps.values():
            with suppress(RequestFailed):  # it is gone
                data = (await self.api.get("", "v1", "configmaps", self.namespace, name))["data"]
                if data != mounted.data:
                    mounted.swap(data)

    async def _sync(self, pod: Body) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        container = self.containers.get(uid)
        if container is not None and container.process.poll() is not None and not container.told:
            self.failed[name] = f"pod {name} ended with {container.process.returncode}\n{container.err}"
        if "deletionTimestamp" in pod["metadata"]:
            await self._stop(pod, container)
        elif "nodeName" not in pod["spec"]:
            body = {"metadata": {"name": name}, "target": {"kind": "Node", "name": NODE}}
            await self.api.ask("POST", path_of("", "v1", "pods", self.namespace, name) + "/binding", body)
        elif container is None:
            if (mounts := await self._mounts(pod)) is not None:
                self.containers[uid] = self._start(pod, mounts)
        elif not container.ready and await self._answers(pod, container):
            container.ready = True
            await self._say_that_it_is_ready(pod)

    async def _stop(self, pod: Body, container: Container | None) -> None:
        if container is not None and container.process.poll() is None:
            if not container.told:
                container.told = time.monotonic()
                container.process.send_signal(signal.SIGTERM)
            elif time.monotonic() - container.told > pod["metadata"]["deletionGracePeriodSeconds"]:
                container.process.kill()
            return
        if container is not None:
            del self.containers[pod["metadata"]["uid"]]
            self.past.append(container)
            self.ended.append((container.pod, container.process.returncode))
        at_once = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        await self.api.delete("", "v1", "pods", self.namespace, pod["metadata"]["name"], options=at_once)

    async def _mounts(self, pod: Body) -> list[str] | None:
        """The lines for the script; None while an object that is to be mounted is missing."""
        folder = self.folder / pod["metadata"]["name"]
        sources = {}
        for volume in pod["spec"].get("volumes", []):
            try:
                sources[volume["name"]] = await self._volume(volume, folder / volume["name"], pod)
            except RequestFailed as e:
                if e.code == 404:
                    return None
                raise
        (spec,) = pod["spec"]["containers"]
        lines = [
            f"{'ro' if mount.get('readOnly') else 'rw'} {sources[mount['name']]} {mount['mountPath']}"
            for mount in spec["volumeMounts"]
        ]
        if pod["spec"].get("automountServiceAccountToken", True):
            lines.append(f"ro {await self._token(pod, folder / 'token')} {TOKENS}")
        return lines

    async def _volume(self, volume: Body, folder: Path, pod: Body) -> Path:
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            await self.api.get("", "v1", "persistentvolumeclaims", self.namespace, claim)
            folder = self.folder / "claims" / claim
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, 0, pod["spec"]["securityContext"]["fsGroup"])
            folder.chmod(0o2775)
            return folder
        if "configMap" in volume:
            name = volume["configMap"]["name"]
            data = (await self.api.get("", "v1", "configmaps", self.namespace, name))["data"]
            if folder not in self._config_maps:
                self._config_maps[folder] = name, Mounted(folder, data)
            return folder
        found = await self.api.get("", "v1", "secrets", self.namespace, volume["secret"]["secretName"])
        return written(folder, {key: base64.b64decode(text) for key, text in found["data"].items()})

    async def _token(self, pod: Body, folder: Path) -> Path:
        path = path_of("", "v1", "serviceaccounts", self.namespace, pod["spec"]["serviceAccountName"])
        made = await self.api.ask("POST", f"{path}/token", {"spec": {}})
        authority = (self.api.directory / "ca.crt").read_bytes()
        files = {"token": made["status"]["token"].encode(), "ca.crt": authority, "namespace": self.namespace.encode()}
        return written(folder, files)

    def _start(self, pod: Body, mounts: list[str]) -> Container:
        folder = self.folder / pod["metadata"]["name"]
        (folder / "root").mkdir(parents=True)
        (folder / "mounts").write_text("".join(f"{line}\n" for line in mounts))
        (spec,) = pod["spec"]["containers"]
        assert spec["securityContext"]["readOnlyRootFilesystem"]
        user = pod["spec"]["securityContext"]
        ports = {port["containerPort"]: free_port() for port in spec.get("ports", [])}
        server = urlsplit(self.api.url)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOSTNAME": pod["metadata"]["name"],
            "PYTHON": INTERPRETER,
            "KUBERNETES_SERVICE_HOST": str(server.hostname),
            "KUBERNETES_SERVICE_PORT": str(server.port),
            **{variable["name"]: here(variable["value"], ports) for variable in spec.get("env", [])},
        }
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [
                    *("unshare", "--mount", "--uts", "sh", str(SCRIPT), str(folder / "root")),
                    *(str(user["runAsUser"]), str(user["runAsGroup"]), str(folder / "mounts")),
                    *(here(argument, ports) for argument in [*spec["command"], *spec["args"]]),
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        (folder / "pid").write_text(str(process.pid))
        return Container(pod["metadata"]["name"], process, folder, ports)

    async def _answers(self, pod: Body, container: Container) -> bool:
        """Whether all probes of the container succeed."""
        (spec,) = pod["spec"]["containers"]
        named = {port["name"]: container.ports[port["containerPort"]] for port in spec["ports"]}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            get = spec[kind]["httpGet"]
            try:
                status, _ = await asyncio.to_thread(ask, named[get["port"]], get["path"])
            except ConnectionError:
                return False
            if status != 200:
                return False
        return True

    async def _say_that_it_is_ready(self, pod: Body) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        (spec,) = pod["spec"]["containers"]
        container = {"name": spec["name"], "image": spec["image"], "imageID": "", "ready": True, "restartCount": 0}
        conditions = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "ContainersReady", "Ready")]
        status = {
            "phase": "Running",
            "conditions": conditions,
            "containerStatuses": [{**container, "started": True, "state": {"running": {"startedAt": now}}}],
        }
        await self.api.patch(
            "", "v1", "pods", self.namespace, pod["metadata"]["name"], {"status": status}, subresource="status"
        )


def here(argument: str, ports: dict[int, int]) -> str:
    """An argument with the ports of this machine."""
    for theirs, ours in ports.items():
        argument = argument.replace(str(theirs), str(ours))
    return argument


def written(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@asynccontextmanager
async def kubelet(api: RealApiServer, folder: Path, namespace: str) -> AsyncIterator[Kubelet]:
    """A kubelet while the block runs. What goes wrong in it fails the test."""
    node = Kubelet(api, folder, namespace)
    node.task = running = asyncio.create_task(node.run())
    try:
        yield node
        assert not node.failed, "\n".join(node.failed.values())
    finally:
        running.cancel()
        node.kill()
        with suppress(asyncio.CancelledError):
            await running
