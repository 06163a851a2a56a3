"""Which cluster it is: what the log says of it, and what events call it."""

from __future__ import annotations

from tests.apiserver.client import write_kubeconfig
from tests.cli.rig import HTTP, Desk
from tests.harness.forward_proxy import ForwardProxy
from tests.harness.processes import until
from tests.workers.peer import saying, serving


async def test_the_start_says_which_server_is_asked_as_whom_without_secrets(desk: Desk) -> None:
    async with ForwardProxy(desk.api.simulator.port) as proxy:
        server = desk.api.url.replace("://", "://me:s3cret@")
        fields = {"proxy-url": f"socks5://me:s3cret@127.0.0.1:{proxy.port}"}
        write_kubeconfig(desk.kubeconfig, server, user={"as": "alice", "token": "s3cret"}, cluster=fields)
        async with desk.running("watch") as kubecdc:
            await kubecdc.until('"cluster"')
            (line,) = kubecdc.lines("cluster")
    told = {name: line.get(name) for name in ("server", "proxy", "context", "user", "impersonating")}
    assert told == {
        "server": desk.api.url,
        "proxy": f"socks5://***@127.0.0.1:{proxy.port}",
        "context": "test",
        "user": "test",
        "impersonating": "alice",
    }
    assert "s3cret" not in kubecdc.err


async def test_events_carry_the_name_that_the_cluster_is_given(desk: Desk) -> None:
    async with serving(saying(200)) as peer:
        desk.write("sensor.yaml", HTTP.format(url=peer.url))
        async with desk.running("run", "--cluster-name", "prod-eu"):
            await desk.create("w1")
            await until(lambda: bool(peer.received), 60, "an event")
    [got] = peer.received
    assert got.headers["ce-cluster"] == "prod-eu"
    assert got.headers["idempotency-key"].startswith("prod-eu/workflows/")


async def test_a_name_that_no_header_could_carry_is_refused(desk: Desk) -> None:
    done = await desk.call("watch", "--cluster-name", "a\nb")
    assert (done.code, "no control characters" in done.err) == (2, True)
