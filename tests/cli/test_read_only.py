"""A root file system that cannot be written, as in a pod with readOnlyRootFilesystem."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.apiserver import simulator
from tests.apiserver.certificates import Authority
from tests.cli.rig import KUBECDC, SENSOR, Desk

READ_ONLY = """
set -e
mount --make-rprivate /
for folder in /tmp /var/tmp /usr /root /dev/shm; do
    [ ! -d $folder ] || { mount --bind $folder $folder && mount -o remount,bind,ro $folder; }
done
mount -t tmpfs tmpfs "$1"
cd /tmp
if touch /tmp/written 2>/dev/null; then exit 1; fi
"""


def require_own_mounts(folder: Path) -> None:
    command = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(folder)]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except OSError as e:
        pytest.skip(f"no mounts of our own: {e}")
    if tried.returncode:
        pytest.skip(f"no mounts of our own: {tried.stderr}")


@pytest.mark.parametrize("data", [False, True], ids=["files", "data"])
async def test_certificates_need_no_file_system_that_can_be_written(data: bool, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    require_own_mounts(tmp_path / "volume")
    async with simulator(tls=tmp_path / "tls") as api:
        desk = Desk(tmp_path, api)
        Authority(tmp_path / "tls").issue("client", "me")
        desk.kubeconfig.write_text(with_certificates(desk, tmp_path / "tls", data=data))
        desk.write("bus.yaml", BUS.format(path=tmp_path / "volume/kubecdc.db"))
        desk.write(
            "sensor.yaml", SENSOR.replace("eventName: changed", "eventName: changed, transform: {jq: '.new = 1'}")
        )
        log, out = tmp_path / "log", tmp_path / "out"
        with log.open("wb") as stderr, out.open("wb") as stdout:
            script = f'{READ_ONLY}exec {KUBECDC} run --log-format json -f "$2"'
            process = await asyncio.create_subprocess_exec(
                *("unshare", "-m", "sh", "-c", script, "sh", str(tmp_path / "volume"), str(desk.manifests)),
                env={k: v for k, v in os.environ.items() if not k.startswith("KUBE")}
                | {"KUBECONFIG": str(desk.kubeconfig), "HOME": "/nonexistent"},
                stdout=stdout,
                stderr=stderr,
            )
        try:
            await desk.create("a")
            async with asyncio.timeout(60):
                while '"new":1' not in out.read_text():
                    assert process.returncode is None, log.read_text()
                    await asyncio.sleep(0.05)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
        assert process.returncode == 0, log.read_text()


BUS = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {{name: default}}
spec: {{sqlite: {{path: "{path}"}}}}
"""


def with_certificates(desk: Desk, folder: Path, *, data: bool) -> str:
    """The kubeconfig with certificates as files, or as data."""
    document = yaml.safe_load(desk.kubeconfig.read_text())
    files = {"client-certificate": folder / "client.crt", "client-key": folder / "client.key"}
    authority = {"certificate-authority": folder / "ca.crt"}

    def fields(paths: dict[str, Path]) -> dict[str, str]:
        if not data:
            return {name: str(path) for name, path in paths.items()}
        return {f"{name}-data": base64.b64encode(path.read_bytes()).decode() for name, path in paths.items()}

    document["clusters"][0]["cluster"] = {"server": desk.api.url, **fields(authority)}
    document["users"][0]["user"] = fields(files)
    return yaml.safe_dump(document)
