"""The bus and a trigger with Secrets that are in the cluster only, as users run it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml
from click.testing import CliRunner

from kubecdc.cli.commands.rbac import rbac
from kubecdc.cli.commands.validate import validate
from kubecdc.errors import KubecdcError
from tests.apiserver import LocalSimulator
from tests.cli.rig import HTTP, REDIS_BUS, Desk
from tests.cli.test_roles import granted
from tests.cluster.test_keys import VALUE, put
from tests.examples.stage import apply
from tests.storage.redis_server import RedisServer
from tests.storage.redis_topologies import call
from tests.workers.peer import saying, serving
from tests.workers.pod import TOKEN
from tests.workers.support import until

WORD = "geheim"
GROUPS = ("system:serviceaccounts", "system:authenticated")


async def test_a_bus_and_a_trigger_take_what_is_secret_from_the_cluster(
    api: LocalSimulator, alice: Desk, shared_redis: RedisServer
) -> None:
    """With no more rights than `kubecdc rbac` prints."""
    await api.make_namespaces("default")
    bus = yaml.safe_load(REDIS_BUS.format(url=f"redis://127.0.0.1:{shared_redis.port}/3"))
    bus["spec"]["redis"] |= {"username": "keyed", "password": {"name": "redis", "key": "token"}}
    alice.write("bus.yaml", yaml.safe_dump(bus))
    call(shared_redis, "ACL", "SETUSER", "keyed", "on", f">{WORD}", "~*", "&*", "+@all")
    try:
        async with serving(saying(200)) as peer:
            sensor = yaml.safe_load(HTTP.format(url=peer.url))
            sensor["spec"]["triggers"][0]["template"]["http"] |= TOKEN
            alice.write("sensor.yaml", yaml.safe_dump(sensor))
            done = CliRunner().invoke(rbac, ["-f", str(alice.manifests), "--namespace", "default"])
            documents = list(yaml.safe_load_all(done.stdout))
            await apply(api, documents, "kubecdc")
            watcher, worker = (granted(documents, account)["default"] for account in ("kubecdc-watch", "kubecdc-work"))
            assert {"get secrets./redis", "get secrets./api"} & {*watcher} == {"get secrets./redis"}
            assert worker == ["get secrets./api", "get secrets./redis"]
            for role in ("watch", "work"):
                user = f"system:serviceaccount:default:kubecdc-{role}"
                await api.kubeconfig_of(alice.folder / role, user, *GROUPS)
            async with (
                alice.running("watch", "--kubeconfig", str(alice.folder / "watch")) as watch,
                alice.running("work", "--kubeconfig", str(alice.folder / "work")) as work,
            ):
                for running in (watch, work):
                    await running.until("key `token` of Secret `redis` is not mounted.*waiting for the bus")
                await put(api, WORD, "redis")
                await put(api, VALUE)
                await watch.until('"leading"')
                await alice.create("one")
                await until(lambda: bool(peer.received))
            assert peer.received[0].headers["x-token"] == VALUE
            for secret in (VALUE, WORD):
                assert secret not in watch.err + watch.out + work.err + work.out
    finally:
        call(shared_redis, "ACL", "DELUSER", "keyed")


async def validated(desk: Desk, *options: str, kubeconfig: Path | None = None) -> tuple[int, str]:
    """The exit code of `kubecdc validate`, and what it says is wrong."""

    def run() -> tuple[int, str]:
        given = ["-f", str(desk.manifests), "--no-leader-election", *options]
        done = CliRunner().invoke(validate, given, env={"KUBECONFIG": str(kubeconfig)})
        if isinstance(done.exception, KubecdcError):  # the command line as a whole makes the exit code of it
            return 1, done.stderr + str(done.exception)
        return done.exit_code, done.stderr

    return await asyncio.to_thread(run)


async def test_validate_names_what_is_missing_and_what_only_the_pods_can_tell(api: LocalSimulator, alice: Desk) -> None:
    sensor = yaml.safe_load(HTTP.format(url="http://receiver"))
    sensor["spec"]["triggers"][0]["template"]["http"] |= TOKEN
    alice.write("sensor.yaml", yaml.safe_dump(sensor))
    administrator = api.kubeconfig(alice.folder / "administrator")
    assert await validated(alice) == (0, ""), "a Secret that is not mounted here is no problem of the manifests"
    where = "Sensor post, spec.triggers[0].template.http.secureHeaders.0.valueFrom.secretKeyRef: "
    code, said = await validated(alice, "--cluster", kubeconfig=administrator)
    assert code == 1
    [line] = said.splitlines()[1:]
    assert line.startswith(f"{where}key `token` of Secret `api` is not mounted: there is no file ")
    assert ", and namespace default has no such Secret; name another one with -n, create it, or mount it at " in line
    sensor["metadata"]["namespace"] = "elsewhere"
    alice.write("sensor.yaml", yaml.safe_dump(sensor))
    _, said = await validated(alice, "--cluster", kubeconfig=administrator)
    assert "no such Secret; create it, or mount it at " in said, "the manifest names it"
    del sensor["metadata"]["namespace"]
    alice.write("sensor.yaml", yaml.safe_dump(sensor))
    await put(api, VALUE)
    assert await validated(alice, "--cluster", kubeconfig=administrator) == (0, "")
    _, said = await validated(alice, "--cluster", kubeconfig=alice.kubeconfig)
    [notice] = [line for line in said.splitlines() if line.startswith("notice: ")]
    assert notice.startswith(f"notice: {where}key `token` of Secret `api` is not mounted")
    assert notice.endswith("is forbidden (403): the pods need it mounted, or `get` on it")
