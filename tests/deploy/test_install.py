"""The commands of deploy/README.md for a bus that needs something beside the pods."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from kubecdc.cli.commands.validate import validate
from tests.deploy.cluster import Cluster, printed
from tests.deploy.test_helm import mounted, rendered
from tests.deploy.tools import BUSES, DEPLOY, OVERLAYS, Document, built, of_kind, tool
from tests.docs.blocks import blocks_of
from tests.storage.redis_server import RedisServer, require

PAGE = DEPLOY / "README.md"
VALUES, SECRET, INSTALL = (
    next(block.text for block in blocks_of(PAGE, PAGE.read_text()) if part in block.text)
    for part in ("image: {repository:", "create secret", "helm install")
)
URL = "redis://redis.example.com:6379/0"
FILES = re.findall(r"--set-file 'manifests\.(\w+)\\.yaml=(\w+\.yaml)'", INSTALL)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder in which the commands can be typed: the values of the page, manifests, and deploy/."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "deploy").symlink_to(DEPLOY)
    (folder / "values.yaml").write_text(VALUES)
    source, sensor = (DEPLOY / "kustomize" / "base" / "manifests.yaml").read_text().split("---\n")
    (folder / "eventsource.yaml").write_text(source)
    (folder / "sensor.yaml").write_text(sensor)
    return folder


def release(own: Path) -> tuple[Document, ...]:
    """What the command of the page makes."""
    options = [f"--set-file=manifests.{name}\\.yaml={own / file}" for name, file in FILES]
    return rendered(*options, values=yaml.safe_load((own / "values.yaml").read_text()))


def test_the_manifests_that_the_pods_of_the_release_get_are_complete(own: Path, tmp_path: Path) -> None:
    assert INSTALL.count("--set-file") == len(FILES)
    done = CliRunner().invoke(validate, mounted(release(own), tmp_path), catch_exceptions=False)
    assert done.output == "valid: 1 EventSource, 1 Sensor, bus default\n"


def secrets(documents: tuple[Document, ...]) -> set[tuple[str, str]]:
    """Name and place of the Secrets that the pods mount."""
    found = set()
    for deployment in of_kind(documents, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        places = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        found |= {(v["secret"]["secretName"], places[v["name"]]) for v in pod["volumes"] if "secret" in v}
    return found


def test_the_pods_mount_the_secret_that_the_commands_create_and_no_other(own: Path) -> None:
    (made,) = re.findall(r"create secret generic (\S+) -n kubecdc --from-literal=password=PASSWORD\n", SECRET)
    needed = {(made, f"/argo-events/secrets/{made}")}
    assert secrets(release(own)) == needed
    assert {bus: secrets(built(OVERLAYS / bus)) for bus in BUSES} == {
        "embedded": set(),
        "redis": needed,
        "sqs": set(),
        "pubsub": set(),
    }


@pytest.mark.parametrize("bus", ["redis", "sqs", "pubsub"])
def test_the_page_says_what_the_event_bus_of_the_overlay_names(bus: str) -> None:
    (row,) = re.findall(rf"^\| `{bus}` \|.+\| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    said = dict(re.findall(r"`(\w+)`: `(.+?)`", row))
    spec: dict[str, Any] = yaml.safe_load((OVERLAYS / bus / "eventbus.yaml").read_text())["spec"][bus]
    assert said == {name: value for name, value in spec.items() if isinstance(value, str)}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    require()
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis", "--requirepass", "PASSWORD")
    server.start()
    yield server
    server.kill()


@pytest.mark.long
async def test_who_types_the_commands_has_an_installation_that_runs(
    cluster: Cluster, redis: RedisServer, own: Path
) -> None:
    values = own / "values.yaml"
    assert URL in VALUES
    values.write_text(VALUES.replace(URL, redis.url))
    environment = {
        "PATH": f"{Path(tool('kubectl')).parent}:{Path(tool('helm')).parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(cluster.kubeconfig),
        "HOME": str(own),
    }
    command = ["sh", "-ec", SECRET + INSTALL]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=own, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("kubecdc-watch", "kubecdc-work"):
        await cluster.rolled_out(name)
    await cluster.create_deployment("first")
    workers = "kubecdc-work"
    await cluster.until(lambda: ("ADD", "first") in printed(cluster.node.of(workers)), workers, "kubecdc-watch")
