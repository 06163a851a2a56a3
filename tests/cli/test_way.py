"""The way to the API server, as users of the command see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver import simulator
from tests.apiserver.certificates import server_context
from tests.cli.rig import Desk
from tests.harness.forward_proxy import ForwardProxy


def change_cluster(desk: Desk, **fields: Any) -> None:
    """Fields of the kubeconfig's cluster."""
    document = yaml.safe_load(desk.kubeconfig.read_text())
    document["clusters"][0]["cluster"].update({name.replace("_", "-"): value for name, value in fields.items()})
    desk.kubeconfig.write_text(yaml.safe_dump(document))


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_changes_come_through_a_proxy(scheme: str, tmp_path: Path) -> None:
    tls = server_context(tmp_path / "tls")
    async with (
        simulator(tls=tmp_path / "tls") as api,
        ForwardProxy(api.simulator.port, account="me:pass", tls=tls if scheme == "https" else None) as proxy,
    ):
        desk = Desk(tmp_path, api)
        change_cluster(desk, proxy_url=f"{scheme}://me:pass@127.0.0.1:{proxy.port}")
        async with desk.running("run") as kubecdc:
            await desk.create("a")
            await kubecdc.until('"name":"a"', out=True)
        assert proxy.asked


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "proxy-url"])
async def test_a_proxy_that_refuses_is_one_line_that_keeps_its_password(
    variable: str, desk: Desk, tmp_path: Path
) -> None:
    async with ForwardProxy(desk.api.simulator.port, account="me:right") as proxy:
        url = f"http://me:s3cret@127.0.0.1:{proxy.port}"
        if variable == "proxy-url":
            change_cluster(desk, proxy_url=url)
        else:
            change_cluster(desk, server="https://api.example.invalid")
            desk.environment[variable] = url
        async with desk.running("run", "--log-level", "debug") as kubecdc:
            await kubecdc.until('"event":"[^"]*407')
        checked = await desk.call("validate", "--cluster")
    assert checked.code == 1
    for text in (kubecdc.err, checked.err, checked.out):
        assert "s3cret" not in text
    assert len(kubecdc.lines("407")) == 1


@pytest.mark.parametrize("command", ["run", "watch", "validate"])
async def test_a_proxy_of_another_kind_ends_the_start(command: str, desk: Desk) -> None:
    change_cluster(desk, proxy_url="socks4://me:s3cret@127.0.0.1:1080")
    done = await desk.call(command, *(["--cluster"] if command == "validate" else []))
    assert done.code == 2
    assert "'socks4' is not supported" in done.err
    assert "s3cret" not in done.err
