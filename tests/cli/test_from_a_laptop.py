"""Commands outside of the pods: `-n` names the namespace of what kubecdc has in the cluster."""

from __future__ import annotations

import yaml

from tests.cli.rig import HOME, PUBSUB_BUS, REDIS_BUS, Desk
from tests.cluster.test_keys import put
from tests.storage.redis_server import RedisServer
from tests.storage.redis_topologies import call

WORD = "geheim"


async def test_checkpoints_that_are_not_found_are_told_with_the_place_and_n_finds_them(laptop: Desk) -> None:
    laptop.environment["POD_NAMESPACE"] = HOME
    async with laptop.running("watch") as watch:
        await watch.until('"listed"')
    del laptop.environment["POD_NAMESPACE"]
    done = await laptop.call("checkpoint", "show")
    assert done.out == "no checkpoints yet in ConfigMap default/kubecdc-checkpoint; -n names another namespace\n"
    assert "workflows/changed" in (await laptop.call("checkpoint", "show", "-n", HOME)).out
    assert (await laptop.call("checkpoint", "reset", "workflows/changed", "-n", HOME, "--yes")).code == 0
    fixed = f"{PUBSUB_BUS}  checkpoint: {{configMap: {{name: own, namespace: {HOME}}}}}\n"
    laptop.write("bus.yaml", fixed)
    assert (await laptop.call("checkpoint", "show")).out == f"no checkpoints yet in ConfigMap {HOME}/own\n"
    assert (await laptop.call("checkpoint", "show", "-n", "a/b")).code == 2


async def test_a_pause_that_is_kept_in_the_cluster_is_told_with_its_place(laptop: Desk) -> None:
    async def said(command: str, *options: str) -> str:
        return (await laptop.call("bus", command, "print/line", *options)).out

    assert (await laptop.call("bus", "ensure")).code == 0
    place = "in ConfigMap default/kubecdc-checkpoint-state; -n names another namespace\n"
    assert await said("pause") == f"print/line paused {place}"
    assert await said("resume") == f"print/line resumed {place}"
    assert await said("pause", "-n", HOME) == f"print/line paused {place.replace('default', HOME)}"


async def test_a_secret_that_is_not_found_is_told_with_the_option(desk: Desk, shared_redis: RedisServer) -> None:
    bus = yaml.safe_load(REDIS_BUS.format(url=f"redis://127.0.0.1:{shared_redis.port}/3"))
    bus["spec"]["redis"] |= {"username": "laptop", "password": {"name": "redis", "key": "token"}}
    desk.write("bus.yaml", yaml.safe_dump(bus))
    await desk.api.make_namespaces(HOME)
    await put(desk.api, WORD, "redis", namespace=HOME)
    call(shared_redis, "ACL", "SETUSER", "laptop", "on", f">{WORD}", "~*", "&*", "+@all")
    try:
        done = await desk.call("status")
        assert (done.code, "no such Secret; name another one with -n, create it" in done.out) == (1, True)
        assert "no such Secret" not in (await desk.call("status", "-n", HOME)).out
        assert (await desk.call("bus", "ensure", "-n", HOME)).code == 0
    finally:
        call(shared_redis, "ACL", "DELUSER", "laptop")
