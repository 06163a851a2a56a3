"""The way to the API server: proxies, and what stands in its address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubecdc.cluster import connection
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.errors import UsageError
from tests.apiserver import LocalSimulator, simulator
from tests.apiserver.certificates import server_context
from tests.harness.forward_proxy import ForwardProxy
from tests.ports import free_port

NAMESPACE = "/api/v1/namespaces/kube-system"
ELSEWHERE = "api.example.invalid:6443"  # only a proxy finds it


def kubeconfig(api: LocalSimulator, path: Path, server: str = "", **fields: Any) -> str:
    """With another address and other fields of the cluster."""
    document = yaml.safe_load(api.kubeconfig(path).read_text())
    cluster = document["clusters"][0]["cluster"]
    cluster.update({name.replace("_", "-"): value for name, value in fields.items()})
    cluster["server"] = server or cluster["server"]
    path.write_text(yaml.safe_dump(document))
    return str(path)


async def ask(path: str) -> None:
    async with Cluster(path) as cluster:
        assert b"kube-system" in await cluster.get(NAMESPACE)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_a_proxy_of_the_kubeconfig_is_spoken_to_as_its_scheme_says(
    scheme: str, tls: bool, tmp_path: Path
) -> None:
    async with simulator(tls=tmp_path / "tls" if tls else None) as api, ForwardProxy(api.simulator.port) as proxy:
        server = f"{'https' if tls else 'http'}://{ELSEWHERE}"
        fields = {"tls_server_name": "localhost"} if tls else {}
        await ask(kubeconfig(api, tmp_path / "kc", server, proxy_url=f"{scheme}://127.0.0.1:{proxy.port}", **fields))
        assert proxy.asked == [f"{'HTTP' if scheme == 'http' else 'SOCKS'} {ELSEWHERE}"]


async def test_a_proxy_may_be_reached_by_https(tmp_path: Path) -> None:
    tls = server_context(tmp_path / "tls")  # the proxy's certificate is checked as the server's, as in Go
    async with simulator(tls=tmp_path / "tls") as api, ForwardProxy(api.simulator.port, tls=tls) as proxy:
        await ask(kubeconfig(api, tmp_path / "kc", proxy_url=f"https://127.0.0.1:{proxy.port}"))
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_the_account_at_a_proxy_is_used_and_shown_nowhere(scheme: str, tmp_path: Path) -> None:
    async with (
        simulator(tls=tmp_path / "tls") as api,
        ForwardProxy(api.simulator.port, account="alice:p@ss word") as proxy,
    ):
        url = f"{scheme}://%s@127.0.0.1:{proxy.port}"
        await ask(kubeconfig(api, tmp_path / "kc", proxy_url=url % "alice:p%40ss%20word"))
        with pytest.raises(ApiError, match=rf"through the proxy {scheme}://[*]+@127.0.0.1:{proxy.port}: ") as refused:
            await ask(kubeconfig(api, tmp_path / "kc", proxy_url=url % "alice:wrong"))
    assert "wrong" not in f"{refused.value} {refused.value.hint}"
    assert "kubeconfig's server" not in refused.value.hint
    if scheme == "http":
        assert "the proxy answered 407" in str(refused.value)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_a_proxy_that_is_not_there_is_named(scheme: str, tmp_path: Path) -> None:
    async with simulator() as api:
        path = kubeconfig(api, tmp_path / "kc", proxy_url=f"{scheme}://me:secret@127.0.0.1:{free_port()}")
        with pytest.raises(ApiError, match=rf"cannot be reached through the proxy {scheme}://[*]+@127") as refused:
            await ask(path)
    assert "secret" not in str(refused.value)


async def test_a_server_that_does_not_speak_socks_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)  # the server waits for the rest of the first line
    async with simulator() as api:
        path = kubeconfig(api, tmp_path / "kc", proxy_url=f"socks5://127.0.0.1:{api.simulator.port}")
        with pytest.raises(ApiError, match="cannot be reached through the proxy socks5://"):
            await ask(path)


async def test_the_proxy_of_the_environment_is_for_the_scheme_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with simulator() as api, ForwardProxy(api.simulator.port) as proxy:
        path = kubeconfig(api, tmp_path / "kc", f"http://{ELSEWHERE}")
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        await ask(path)
        assert proxy.asked == [f"HTTP {ELSEWHERE}"]
        monkeypatch.setenv("NO_PROXY", "example.invalid")
        with pytest.raises(ApiError, match=f"API server at http://{ELSEWHERE} cannot be reached: "):
            await ask(path)
        await ask(kubeconfig(api, tmp_path / "kc"))  # this machine needs no proxy
        assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    "address", [lambda port: f"http://127.0.0.1:{port}/", lambda port: f"http://127.0.0.1:{port}?x=1#y"]
)
async def test_what_follows_the_host_and_is_no_path_is_left_out(address: Callable[[int], str], tmp_path: Path) -> None:
    async with simulator() as api:
        await ask(kubeconfig(api, tmp_path / "kc", address(api.simulator.port)))


@pytest.mark.parametrize(
    "address", ["ftp://api.example.com", "https://:6443", "https://api:99999", "https://me:secret@[x"]
)
def test_an_address_that_is_none_is_refused_by_name(address: str, tmp_path: Path) -> None:
    path = kubeconfig(LocalSimulator(), tmp_path / "kc", address)
    with pytest.raises(UsageError, match="the kubeconfig's server") as refused:
        Cluster(path)
    assert "secret" not in str(refused.value)
