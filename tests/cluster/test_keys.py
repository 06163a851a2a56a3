"""Keys of Secrets and ConfigMaps that are not mounted: read from the cluster, kept for a while, shown to nobody."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner

from kubecdc.cli.commands.rbac import rbac
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.contents import AGAIN, DOUBTED, KEPT, MOST
from kubecdc.cluster.keys import Keys
from kubecdc.cluster.shared import SharedCluster
from kubecdc.manifest.mounts import Mounts, Unreadable
from kubecdc.manifest.secrets import ConfigMapKeyRef, KeyRef
from tests.apiserver import (
    CONFIGMAPS,
    ApiServer,
    LocalSimulator,
    RealApiServer,
    RequestFailed,
    simulator,
    write_kubeconfig,
)
from tests.cli.test_roles import sensor
from tests.clock import Clock
from tests.examples.stage import apply
from tests.served import served
from tests.workers.pod import TOKEN, Pod

SECRETS = ("", "v1", "secrets")
CONFIG_MAPS = ("", "v1", "configmaps")
REF = KeyRef(name="api", key="token")
VALUE = "s3cr3t-value"


async def put(api: ApiServer, value: str, name: str = "api", namespace: str = "default") -> None:
    """A Secret with a token, made or changed."""
    data = {"token": base64.b64encode(value.encode()).decode()}
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "data": data}
    try:
        await api.create(*SECRETS, namespace, document)
    except RequestFailed:
        await api.patch(*SECRETS, namespace, name, {"data": data})


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    async with simulator(namespaces=["default", "other"]) as api:
        yield api


@asynccontextmanager
async def connected(kubeconfig: Path, clock: Clock | None = None) -> AsyncIterator[SharedCluster]:
    async with aclosing(SharedCluster(lambda: Cluster(str(kubeconfig)))) as cluster:
        if clock:
            cluster.contents._now = clock
        yield cluster


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Whoever has it waits for newer values however slow this machine is."""
    monkeypatch.setattr("kubecdc.cluster.contents.PATIENCE", 60)
    return Clock()


@pytest.fixture
async def cluster(api: LocalSimulator, tmp_path: Path, clock: Clock) -> AsyncIterator[SharedCluster]:
    async with connected(api.kubeconfig(tmp_path / "kubeconfig"), clock) as cluster:
        yield cluster


@pytest.fixture
def keys(cluster: SharedCluster, pod: Pod) -> Keys:
    return Keys(pod.mounts, cluster)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(Mounts(tmp_path / "secrets", tmp_path / "config"))


async def refused(keys: Keys, ref: KeyRef = REF) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        await keys.text(ref)
    assert VALUE not in str(caught.value)
    return caught.value


async def test_what_is_not_mounted_is_read_in_the_namespace_and_what_is_mounted_wins(
    api: LocalSimulator, cluster: SharedCluster, pod: Pod
) -> None:
    await put(api, "one\n")
    await put(api, "two", namespace="other")
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "api"},
        "data": {"token": "é"},
        "binaryData": {"bytes": base64.b64encode(b"\xff\x00").decode()},
    }
    await api.create(*CONFIGMAPS, "default", document)
    keys = Keys(pod.mounts, cluster)
    assert await keys.text(REF) == "one"
    assert await Keys(pod.mounts, cluster, "other").text(REF) == "two"
    assert await keys.text(ConfigMapKeyRef(name="api", key="token")) == "é"
    assert await keys.content(ConfigMapKeyRef(name="api", key="bytes")) == b"\xff\x00"
    pod.mount("api", token="mounted")
    assert await keys.text(REF) == "mounted"


async def test_a_value_is_kept_for_a_minute_and_one_that_a_peer_refuses_is_not(
    api: LocalSimulator, keys: Keys, clock: Clock
) -> None:
    await put(api, "one")
    before = api.simulator.asked
    assert {*(await asyncio.gather(*(keys.text(REF) for _ in range(20))))} == {"one"}
    assert api.simulator.asked == before + 1, "all who ask at the same time share a request"
    await put(api, "two")
    clock.now += KEPT - 1
    assert await keys.text(REF) == "one"
    clock.now += 1
    assert await keys.text(REF) == "two"
    await put(api, "three")
    keys.doubt([REF])
    assert await keys.text(REF) == "two", "it was read a moment ago"
    clock.now += DOUBTED
    assert await keys.text(REF) == "three"


async def test_while_the_api_server_does_not_answer_the_last_value_is_used(
    api: LocalSimulator, keys: Keys, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    await put(api, VALUE)
    assert await keys.text(REF) == VALUE
    api.fail(503, count=2)
    for _ in range(3):
        clock.now += KEPT
        assert await keys.text(REF) == VALUE
    clock.now += AGAIN
    await keys.text(REF)
    said = ""
    async with asyncio.timeout(60):
        while "can be read again" not in (said := said + capsys.readouterr().out):
            clock.now += AGAIN
            await keys.text(REF)
            await asyncio.sleep(0.01)
    assert said.count("cannot be read again; the last values that were read are used") == 1
    assert VALUE not in said
    await api.delete(*SECRETS, "default", "api")
    clock.now += KEPT
    assert "namespace default has no such Secret" in str(await refused(keys)), "it is gone for certain"


async def test_an_api_server_that_hangs_does_not_hold_up_what_has_a_value(
    api: LocalSimulator, keys: Keys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(api, VALUE)
    await keys.text(REF)
    monkeypatch.setattr("kubecdc.cluster.contents.PATIENCE", 0.05)
    monkeypatch.setattr("kubecdc.cluster.contents.SECONDS", 0.3)
    api.suspend()
    clock.now += KEPT
    assert await keys.text(REF) == VALUE
    assert (await refused(keys, KeyRef(name="new", key="token"))).ours
    api.resume()


async def test_what_is_missing_is_named_with_the_fix_and_read_again_soon(
    api: LocalSimulator, keys: Keys, pod: Pod, clock: Clock
) -> None:
    file = pod.mounts.secrets / "api" / "token"
    start = f"key `token` of Secret `api` is not mounted: there is no file {file}, and "
    nothing = await refused(keys)
    assert str(nothing) == (
        f"{start}namespace default has no such Secret; name another one with POD_NAMESPACE, "
        f"create it, or mount it at {file.parent}, or give its place with --secrets-dir"
    )
    assert not nothing.ours
    await put(api, VALUE)
    assert str(await refused(keys)) == str(nothing), "nobody is asked at every event"
    clock.now += AGAIN
    assert await keys.text(REF) == VALUE
    other = str(await refused(keys, KeyRef(name="api", key="other")))
    assert other.endswith("and the Secret in namespace default has no such key; add the key")
    config = str(await refused(keys, ConfigMapKeyRef(name="a", key="b")))
    assert "key `b` of ConfigMap `a`" in config
    assert "--configmaps-dir" in config


async def test_an_api_server_that_was_never_reached_is_nobodys_fault(tmp_path: Path, pod: Pod) -> None:
    async with connected(write_kubeconfig(tmp_path / "nobody", "http://127.0.0.1:1")) as cluster:
        error = await refused(Keys(pod.mounts, cluster))
    assert error.ours
    assert "and it cannot be read from the cluster: " in str(error)


async def test_an_answer_that_cannot_be_read_is_not_shown(pod: Pod, tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"data": {"token": f"not base64: {VALUE}"}})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with served(app) as url, connected(write_kubeconfig(tmp_path / "other", url)) as cluster:
        error = await refused(Keys(pod.mounts, cluster))
    assert "the API server's answer for Secret default/api cannot be read" in str(error)


async def test_however_many_objects_events_choose_few_are_kept(api: LocalSimulator, keys: Keys) -> None:
    for number in range(MOST + 10):
        await refused(keys, KeyRef(name=f"s{number}", key="token"))
    assert len(keys._cluster.contents._kept) == MOST


@pytest.fixture(params=["simulator", "real"])
def real(request: pytest.FixtureRequest) -> RealApiServer | None:
    """A real API server, or None for a simulated one."""
    found: RealApiServer | None = request.getfixturevalue("real_api") if request.param == "real" else None
    return found


@pytest.fixture
async def server(real: RealApiServer | None) -> AsyncIterator[ApiServer]:
    if real:
        yield real
        await real.close()
        return
    async with simulator(rbac=True, namespaces=["default"]) as api:
        yield api


async def test_the_role_that_rbac_prints_lets_exactly_the_named_secret_be_read(
    server: ApiServer, tmp_path: Path, pod: Pod
) -> None:
    await server.make_namespaces("keys")
    await put(server, VALUE, namespace="keys")
    await put(server, VALUE, "other", namespace="keys")
    manifest = sensor({"http": {"url": "http://receiver", **TOKEN}})
    done = CliRunner().invoke(rbac, ["-f", "-", "--namespace", "keys"], input=manifest, catch_exceptions=False)
    user, groups = "system:serviceaccount:keys:kubecdc-work", ("system:serviceaccounts", "system:authenticated")
    kubeconfig = await server.kubeconfig_of(tmp_path / "worker", user, *groups)
    clock = Clock()
    async with connected(kubeconfig, clock) as cluster:
        keys = Keys(pod.mounts, cluster, "keys")
        error = await refused(keys)
        assert error.denied
        assert "reading it in namespace keys is forbidden (403); mount it at" in str(error)
        assert str(error).endswith("or grant `get` on it: `kubecdc rbac` prints the Role")
        await apply(server, list(yaml.safe_load_all(done.stdout)), "kubecdc-work")
        async with asyncio.timeout(60):  # authorizers take a moment to see a new role
            while True:
                clock.now += AGAIN
                try:
                    assert await keys.text(REF) == VALUE
                    break
                except Unreadable:
                    await asyncio.sleep(0.05)
        assert (await refused(keys, KeyRef(name="other", key="token"))).denied
        assert (await refused(keys, ConfigMapKeyRef(name="api", key="token"))).denied
