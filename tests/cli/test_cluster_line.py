"""The line of the log that says which cluster it is, and as whom."""

from __future__ import annotations

from tests.apiserver.client import write_kubeconfig
from tests.cli.rig import Desk
from tests.harness.forward_proxy import ForwardProxy


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
