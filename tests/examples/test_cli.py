"""A bus of a type that a package provides, composed with the stores: as users run it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.apiserver import LocalSimulator
from tests.apiserver.test_rbac import READ, bind
from tests.cli.rig import ALICE, Desk

pytestmark = pytest.mark.long
SOURCE = Path(__file__).parents[2] / "examples" / "custom-queue"
BUS = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {{name: {name}}}
spec:
  spool: {{path: ./spool}}
{more}
"""
LEADS = "lease taken|leading"  # by a Lease alone, or by the store
CONFIG_MAPS = ("", "v1", "configmaps")


def provide(desk: Desk, **types: str) -> None:
    """Install a package with types of queues, as far as entry points are concerned."""
    package = desk.folder / "packages" / "kubecdc_spool-0.1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: kubecdc-spool\nVersion: 0.1.0\n")
    points = "\n".join(f"{name} = {value}" for name, value in types.items())
    (package / "entry_points.txt").write_text(f"[kubecdc.queues]\n{points}\n")
    desk.environment["PYTHONPATH"] = f"{package.parent}:{SOURCE}"


@pytest.fixture
def spool(desk: Desk) -> Callable[..., None]:
    """Write an EventBus of the type ``spool``."""
    provide(desk, spool="kubecdc_spool:SpoolType")

    def write(more: str = "", name: str = "default") -> None:
        desk.write("bus.yaml", BUS.format(name=name, more=more))

    write()
    return write


async def test_its_checkpoint_is_in_a_config_map_and_a_lease_elects(desk: Desk, spool: Callable[..., None]) -> None:
    async with desk.running("run") as running:
        await running.until(LEADS)
        await desk.create("one")
        await running.until('"name":"one"', out=True)
        assert str(desk.folder / "spool") in str(running.lines("bus")[0]["at"])
    found = await desk.api.get(*CONFIG_MAPS, "default", "kubecdc-checkpoint")
    assert "changed" in found["data"]["checkpoints"]
    (row,) = await desk.rows("checkpoint", "show")
    assert (row["objects"], row["bus"]) == (1, "default")
    await desk.create("two")
    async with desk.running("run") as running:
        await running.until('"name":"two"', out=True)
        assert '"name":"one"' not in running.out
    (row,) = await desk.rows("bus", "show")
    assert (row["subscription"], row["pending"]) == ("print/line", 0)


async def test_a_worker_needs_no_cluster(desk: Desk, spool: Callable[..., None], tmp_path: Path) -> None:
    async with desk.running("watch") as watching:
        await watching.until(LEADS)
        await desk.create("one")
        async with asyncio.timeout(60):
            while not list(desk.folder.glob("spool/subscriptions/*/events/*")):  # noqa: ASYNC110 (no file tells)
                await asyncio.sleep(0.05)
    kubeconfig = desk.environment.pop("KUBECONFIG")
    async with desk.running("work") as working:
        await working.until('"name":"one"', out=True)
    done = await desk.call("checkpoint", "show")
    assert done.code == 2
    assert "no Kubernetes cluster is configured" in done.err
    (row,) = await desk.rows("checkpoint", "show", "--kubeconfig", kubeconfig)
    assert row["objects"] == 1


async def test_without_a_lease_somebody_has_to_elect(desk: Desk, spool: Callable[..., None]) -> None:
    done = await desk.call("run", "--no-leader-election")
    assert done.code == 2
    assert "--leader-election" in done.err
    spool("  checkpoint: {sqlite: {path: ./own.db}}")
    async with desk.running("run") as running:  # the lock of that file elects
        await running.until(LEADS)
        await desk.create("one")
        await running.until('"name":"one"', out=True)
    with sqlite3.connect(desk.folder / "own.db") as db:
        assert db.execute("SELECT count(*) FROM checkpoints").fetchone() == (1,)
    db.close()
    (row,) = await desk.rows("checkpoint", "show")
    assert row["objects"] == 1


async def test_its_checkpoint_is_in_redis(desk: Desk, spool: Callable[..., None], redis_url: str) -> None:
    spool(f"  checkpoint: {{redis: {{url: '{redis_url}'}}}}")
    async with desk.running("run", "--no-leader-election") as running:
        await running.until(LEADS)
        await desk.create("one")
        await running.until('"name":"one"', out=True)
    (row,) = await desk.rows("checkpoint", "show")
    assert row["objects"] == 1


COUNTED = """\
from kubecdc_spool import SpoolType

class CountedType(SpoolType):
    uses_state = True
"""


async def test_what_its_config_maps_need_is_asked_for(api: LocalSimulator, alice: Desk) -> None:
    provide(alice, spool="kubecdc_spool:SpoolType", counted="kubecdc_counted:CountedType")
    (alice.folder / "packages" / "kubecdc_counted.py").write_text(COUNTED)
    alice.write("bus.yaml", BUS.format(name="default", more=""))
    check = ("validate", "--cluster", "--no-leader-election")
    await bind(api, ALICE, READ)
    done = await alice.call(*check)
    (line,) = done.err.splitlines()[1:]
    denied = "not allowed to get, create, update configmaps in namespace default"
    assert line.startswith(
        f"EventBus default, checkpoint: {denied}; `kubectl create role kubecdc-checkpoint -n default "
    )
    assert "--verb=get,create,update --resource=configmaps`" in line
    maps = {"apiGroups": [""], "resources": ["configmaps"]}
    named = {**maps, "resourceNames": ["kubecdc-checkpoint"], "verbs": ["get", "update"]}
    await bind(api, ALICE, [{**maps, "verbs": ["create"]}, named], namespace="default")
    assert (await alice.call(*check)).code == 0
    alice.write("bus.yaml", BUS.format(name="default", more="").replace("spool: ", "counted: "))
    (line,) = (await alice.call(*check)).err.splitlines()[1:]
    denied = "not allowed to get, update configmaps in namespace default"
    assert line.startswith(f"EventBus default, state: {denied}; `kubectl create role kubecdc-state -n default ")
    alice.write("bus.yaml", BUS.format(name="default", more="  checkpoint: {sqlite: {path: x}}"))
    assert (await alice.call(*check)).code == 0


async def test_each_bus_has_a_config_map_of_its_own(desk: Desk, spool: Callable[..., None]) -> None:
    spool(name="other")
    for file in ("source.yaml", "sensor.yaml"):
        text = (desk.manifests / file).read_text()
        desk.write(file, text.replace("spec:\n", "spec:\n  eventBusName: other\n", 1))
    async with desk.running("run") as running:
        await running.until(LEADS)
        await desk.create("one")
        await running.until('"name":"one"', out=True)
    assert await desk.api.get(*CONFIG_MAPS, "default", "kubecdc-checkpoint-other")


async def test_what_the_type_cannot_do_is_refused(desk: Desk, spool: Callable[..., None]) -> None:
    async with desk.running("run") as running:
        await running.until(LEADS)
    for command in (["dlq", "list"], ["replay", "--subscription", "print/line", "--yes"]):
        done = await desk.call(*command)
        assert done.code == 2
        assert "its type does not support it" in done.err


MANIFESTS = [
    ("  checkpoint: {sqlite: {}}", "spec.checkpoint: needs `path`; write {path: ./checkpoints.db}"),
    ("  checkpoint: {redis: {}}", "spec.checkpoint: needs `url`; write {url: 'redis://localhost:6379/0'}"),
    (
        f"  checkpoint: {{configMap: {{name: {'a' * 248}}}}}",
        "spec.checkpoint.configMap.name: is longer than 247 characters; the state is in a ConfigMap with `-state`",
    ),
    ("  checkpoint: {}", "spec.checkpoint: must name one of `sqlite`, `redis` and `configMap`"),
    ("  checkpoint: {redis: {url: x}}", "spec.checkpoint.redis.url: is not the URL of a Redis"),
    ("  sqlite: {path: x}", "spec: names two types of bus, `sqlite` and `spool`; leave one of them out"),
    ("  broken: {}", "spec.broken: EventBus type `broken` cannot be loaded: no.such:Thing: No module named 'no'"),
    ("  abstract: {}", "spec.abstract: EventBus type `abstract` cannot be loaded: "),
    ("  retention: x", "spec.retention: is not a duration"),
    ("  nats: {}", "spec.nats: EventBus type `nats` is not supported"),
]


@pytest.mark.parametrize(("more", "line"), MANIFESTS)
async def test_manifests_are_checked_as_of_any_type(desk: Desk, more: str, line: str) -> None:
    provide(
        desk,
        spool="kubecdc_spool:SpoolType",
        broken="no.such:Thing",
        abstract="kubecdc.storage.contracts.types:QueueType",
        retention="kubecdc_spool:SpoolType",
    )
    desk.write("bus.yaml", BUS.format(name="default", more=more))
    done = await desk.call("validate")
    assert done.code == 2
    assert line in done.err


async def test_a_name_that_is_refused_is_taken_from_a_package_that_has_it(desk: Desk) -> None:
    provide(desk, nats="kubecdc_spool:SpoolType")
    desk.write("bus.yaml", BUS.format(name="default", more="").replace("spool: ", "nats: "))
    done = await desk.call("validate")
    assert done.code == 0, done.err
