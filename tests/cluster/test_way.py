"""The way to the API server: proxies, and what stands in its address."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubecdc.cluster import connection
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.server import parse
from kubecdc.errors import UsageError
from tests.apiserver import LocalSimulator, simulator
from tests.apiserver.certificates import server_context
from tests.apiserver.client import write_kubeconfig
from tests.harness.forward_proxy import ForwardProxy
from tests.harness.proxy import Proxy
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


class Listening:
    """A server that answers every request with an empty object. ``heads`` has what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.heads: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Listening]:
    one = Listening()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0, ssl=tls)
    one.port = server.sockets[0].getsockname()[1]
    async with server:
        yield one


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


@pytest.mark.parametrize("schemes", [("socks5", "http"), ("http", "socks5"), ("socks5", "socks5"), ("socks5", "")])
async def test_a_proxy_that_has_moved_is_found_after_a_failure(schemes: tuple[str, str], tmp_path: Path) -> None:
    async with simulator() as api, ForwardProxy(api.simulator.port) as proxy:
        urls = [f"{scheme}://127.0.0.1:{port}" for scheme, port in zip(schemes, (free_port(), proxy.port), strict=True)]
        async with Cluster(kubeconfig(api, tmp_path / "kc", proxy_url=urls[0])) as cluster:
            with pytest.raises(ApiError, match=f"through the proxy {urls[0]}"):
                await cluster.get(NAMESPACE)
            kubeconfig(api, tmp_path / "kc", proxy_url=urls[1] if schemes[1] else "")
            await cluster.get(NAMESPACE)
        assert len(proxy.asked) == bool(schemes[1])


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


@pytest.mark.parametrize("rest", ["/", "?x=1#y", "/_sim/api", "/_sim/api/", "/_sim/api?x=1#y"])
async def test_a_path_in_the_address_is_a_prefix_and_what_follows_it_is_left_out(rest: str, tmp_path: Path) -> None:
    async with simulator() as api:  # it answers below /_sim/api too
        await ask(kubeconfig(api, tmp_path / "kc", f"{api.url}{rest}"))


async def test_the_prefix_is_in_front_of_every_request(tmp_path: Path) -> None:
    async with simulator() as api, Cluster(kubeconfig(api, tmp_path / "kc", f"{api.url}/not/here")) as cluster:
        with pytest.raises(ApiError, match="does not know"):
            await cluster.get(NAMESPACE)


async def test_an_address_without_scheme_is_one_of_http(tmp_path: Path) -> None:
    async with simulator() as api:
        await ask(kubeconfig(api, tmp_path / "kc", f"127.0.0.1:{api.simulator.port}"))


async def test_an_ipv6_address_stands_in_brackets(tmp_path: Path) -> None:
    async with simulator() as api:
        try:
            async with Proxy(api.simulator.port, "::1") as ipv6:
                await ask(kubeconfig(api, tmp_path / "kc", f"http://[::1]:{ipv6.port}"))
        except OSError as e:
            pytest.skip(f"this machine has no IPv6: {e}")


async def test_a_user_and_password_in_the_address_are_sent_unless_there_is_a_token(tmp_path: Path) -> None:
    async with listening() as server:
        address = f"http://me:p%40ss@127.0.0.1:{server.port}"
        for user, expected in (({}, "Basic bWU6cEBzcw=="), ({"token": "given"}, "Bearer given")):
            async with Cluster(str(write_kubeconfig(tmp_path / "kc", address, user=user))) as cluster:
                assert cluster.host == f"http://127.0.0.1:{server.port}"
                await cluster.get(NAMESPACE)
            assert f"Authorization: {expected}" in server.heads.pop()


async def test_a_name_that_takes_long_is_said_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, "https://slow.example")
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    try:
        async with Cluster(str(path)) as cluster:
            wanted = "slow.example cannot be reached: the name slow.example could not be looked up in time"
            with pytest.raises(ApiError, match=wanted):
                await cluster.get(NAMESPACE, seconds=0.2)
    finally:
        over.set()


async def test_a_server_that_refuses_is_said_in_a_few_words(tmp_path: Path) -> None:
    path, port = tmp_path / "kubeconfig", free_port()
    write_kubeconfig(path, f"https://127.0.0.1:{port}")
    async with Cluster(str(path)) as cluster:
        with pytest.raises(ApiError) as refused:
            await cluster.get(NAMESPACE)
    why = f"[Errno {errno.ECONNREFUSED}] Connect call failed ('127.0.0.1', {port})"
    assert str(refused.value) == f"the API server at https://127.0.0.1:{port} cannot be reached: {why}"


@pytest.mark.parametrize("fields", [{}, {"disable-compression": True}, {"disable-compression": False}])
async def test_no_answer_is_compressed(fields: dict[str, bool], tmp_path: Path) -> None:
    async with listening() as server:
        address = f"http://127.0.0.1:{server.port}"
        async with Cluster(str(write_kubeconfig(tmp_path / "kc", address, cluster=fields))) as cluster:
            await cluster.get(NAMESPACE)
        assert "Accept-Encoding: identity" in server.heads.pop()


@pytest.mark.parametrize("name", ["", "localhost", "other.example"])
async def test_the_certificate_must_be_for_the_name_that_the_kubeconfig_gives(name: str, tmp_path: Path) -> None:
    asked: list[str] = []
    tls = server_context(tmp_path / "tls")
    tls.sni_callback = lambda _, server_name, __: asked.append(server_name or "")
    async with listening(tls) as server, ForwardProxy(server.port) as proxy:
        fields = {"proxy-url": f"http://127.0.0.1:{proxy.port}", "certificate-authority": str(tmp_path / "tls/ca.crt")}
        path = write_kubeconfig(tmp_path / "kc", f"https://{ELSEWHERE}", cluster={**fields, "tls-server-name": name})
        async with Cluster(str(path)) as cluster:
            if name == "localhost":
                await cluster.get(NAMESPACE)
            else:
                with pytest.raises(ApiError, match="Hostname mismatch"):
                    await cluster.get(NAMESPACE)
    assert asked == [name or ELSEWHERE.partition(":")[0]]


async def test_the_authorities_of_the_system_count_without_one_in_the_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with simulator(tls=tmp_path / "tls") as api:
        path = str(write_kubeconfig(tmp_path / "kc", api.url))
        with pytest.raises(ApiError, match="certificate verify failed"):
            await ask(path)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls/ca.crt"))
        await ask(path)


async def test_a_certificate_that_is_not_to_be_checked_is_not(tmp_path: Path) -> None:
    async with simulator(tls=tmp_path / "tls") as api:
        with pytest.raises(ApiError, match="certificate verify failed"):
            await ask(str(write_kubeconfig(tmp_path / "kc", api.url)))
        await ask(str(write_kubeconfig(tmp_path / "kc", api.url, cluster={"insecure-skip-tls-verify": True})))


@pytest.mark.parametrize(
    "address", ["ftp://api.example.com", "https://:6443", "https://api:99999", "https://me:secret@[x"]
)
def test_an_address_that_is_none_is_refused_by_name(address: str, tmp_path: Path) -> None:
    path = kubeconfig(LocalSimulator(), tmp_path / "kc", address)
    with pytest.raises(UsageError, match="the kubeconfig's server") as refused:
        Cluster(path)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("server", "proxy", "uses"),
    [
        ("https://api.example.com", "", True),
        ("http://127.0.0.1:8001", "", False),
        ("http://127.0.0.1:8001", "http://proxy:3128", False),
        ("http://127.0.0.1:8001", "https://proxy:3128", True),
        ("http://127.0.0.1:8001", "socks5://proxy:1080", False),
        ("https://api.example.com", "socks5://proxy:1080", True),
    ],
)
def test_tls_is_used_if_the_server_or_its_proxy_asks_for_it(server: str, proxy: str, uses: bool) -> None:
    assert parse(server, proxy).uses_tls is uses


async def test_a_server_that_turns_to_tls_is_verified(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, listening(server_context(tmp_path)) as secure:
        async with listening() as plain:
            path = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{plain.port}")
            cluster = await stack.enter_async_context(Cluster(str(path)))
            assert await cluster.get(NAMESPACE) == b"{}"
        write_kubeconfig(path, f"https://127.0.0.1:{secure.port}")
        with pytest.raises(ApiError, match="Connect call failed"):
            await cluster.get(NAMESPACE)
        with pytest.raises(ApiError, match="certificate verify failed"):
            await cluster.get(NAMESPACE)
