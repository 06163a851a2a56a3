"""Exec plugins: what they are told, what they answer, and what is said when they fail."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubecdc.cluster import exec_plugin
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from tests.cluster.https_server import HttpsServer, whoami
from tests.cluster.kubeconfigs import V1, configured, credential, kubeconfig, plugin, script
from tests.harness.processes import running, until

BETA = "client.authentication.k8s.io/v1beta1"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HttpsServer]:
    async with HttpsServer(tmp_path).listening() as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_plugin, "PAUSE_SECONDS", 0.0)


def cluster_of(server: HttpsServer, user: dict[str, Any]) -> Cluster:
    fields = {"server": server.url, "certificate-authority": str(server.folder / "ca.crt")}
    return Cluster(kubeconfig(server.folder, user, **fields))


FAILURES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "it says why": (
        "echo 'SSO session expired, run login' >&2; exit 7",
        {"installHint": "get it from example.com"},
        "failed with exit code 7",
        "it wrote: SSO session expired, run login; get it from example.com",
    ),
    "it says nothing": ("exit 1", {}, "failed with exit code 1", "run it by hand to see why"),
    "no JSON": ("echo logged in", {}, "printed no ExecCredential", "run it by hand to see what it prints"),
    "no object": ("echo 5", {}, "printed no ExecCredential", "run it by hand"),
    "another version": (f"echo '{credential(BETA, token='a')}'", {}, f"printed ExecCredential of {BETA}", V1),
    "another kind": (
        f"""echo '{{"apiVersion":"{V1}","kind":"Pod","status":{{"token":"a"}}}}'""",
        {},
        f"printed Pod of {V1}",
        "it must print ExecCredential",
    ),
    "no status": (f"""echo '{{"apiVersion":"{V1}","kind":"ExecCredential"}}'""", {}, "neither a token nor", "log in"),
    "an empty token": (f"echo '{credential(token='')}'", {}, "neither a token nor a certificate", "log in"),
    "half a certificate": (f"echo '{credential(clientKeyData='a')}'", {}, "a certificate or a key, not both", ""),
    "no certificate": (
        f"echo '{credential(clientKeyData='a', clientCertificateData='b')}'",
        {},
        "returned credentials that cannot be used: client-certificate",
        "renew them",
    ),
    "two lines": (f"printf '%s' '{credential(token='a' + chr(10) + 'b')}'", {}, "contains a line end", "remove it"),
}


@pytest.mark.parametrize(("text", "more", "message", "hint"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_plugin_that_fails_is_the_error_and_no_request_is_sent(
    server: HttpsServer, text: str, more: dict[str, Any], message: str, hint: str
) -> None:
    path = script(server.folder, text)
    async with cluster_of(server, plugin(path, **more)) as cluster:
        for _ in range(2):
            with pytest.raises(ApiError) as raised:
                await whoami(cluster)
            assert message in str(raised.value)
            assert hint in raised.value.hint
            assert raised.value.status == 401
        assert server.asked == 0
        script(server.folder, f"echo '{credential(token='me')}'")
        assert await whoami(cluster) == "me"


async def test_a_plugin_that_is_not_installed_says_where_to_get_it(server: HttpsServer) -> None:
    async with cluster_of(server, plugin("no-such-plugin", installHint="get it from example.com")) as cluster:
        with pytest.raises(ApiError, match="the exec plugin no-such-plugin is not there") as raised:
            await whoami(cluster)
        assert raised.value.hint == "get it from example.com"
    async with cluster_of(server, plugin("./no-such-plugin")) as cluster:
        with pytest.raises(ApiError, match=f"{server.folder}/no-such-plugin is not there") as raised:
            await whoami(cluster)
        assert raised.value.hint
    assert server.asked == 0


async def test_a_plugin_that_needs_a_person_says_so(server: HttpsServer) -> None:
    path = script(server.folder, f"echo '{credential(token='me')}'")
    async with cluster_of(server, plugin(path, interactiveMode="Always")) as cluster:
        with pytest.raises(ApiError, match="standard input is not a terminal"):
            await whoami(cluster)
    async with cluster_of(server, plugin(path, interactiveMode="IfAvailable")) as cluster:
        assert await whoami(cluster) == "me"


async def test_a_plugin_is_run_again_when_its_credential_has_expired(server: HttpsServer) -> None:
    runs = server.folder / "runs"
    short, long = "2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
    answers = {name: credential(token=name, expirationTimestamp=time) for name, time in (("a", short), ("b", long))}
    for name, answer in answers.items():
        (server.folder / name).write_text(answer)
    path = script(server.folder, f"echo >> {runs}; cat {server.folder}/answer")
    (server.folder / "answer").write_text(answers["a"])
    async with cluster_of(server, plugin(path)) as cluster:
        assert await whoami(cluster) == "a"  # the clocks may differ: the server decides
        server.accepts = "b"
        with pytest.raises(
            ApiError, match=r"\(401\); the exec plugin .* returned credentials that expired at 2001-01-01"
        ):
            await whoami(cluster)
        (server.folder / "answer").write_text(answers["b"])
        assert await whoami(cluster) == "b"
        count = len(runs.read_text())
        assert [await whoami(cluster) for _ in range(3)] == ["b"] * 3
        assert len(runs.read_text()) == count


async def test_requests_at_the_same_time_share_a_run_and_one_without_time_does_not_end_it(
    server: HttpsServer,
) -> None:
    folder = server.folder
    path = script(
        folder,
        f"echo >> {folder}/runs; while ! [ -e {folder}/go ]; do sleep 0.02; done; echo '{credential(token='me')}'",
    )
    async with cluster_of(server, plugin(path)) as cluster:
        with pytest.raises(ApiError, match=f"the exec plugin {path} has not answered yet"):
            await cluster.get("/whoami", seconds=0.2)
        waiting = [asyncio.create_task(whoami(cluster)) for _ in range(20)]
        await asyncio.sleep(0)
        (folder / "go").touch()
        assert await asyncio.gather(*waiting) == ["me"] * 20
    assert len((folder / "runs").read_text()) == 1


async def test_another_user_in_the_kubeconfig_ends_the_wait_for_a_plugin(server: HttpsServer) -> None:
    path = script(server.folder, f"touch {server.folder}/running; exec sleep 60")
    async with cluster_of(server, plugin(path)) as cluster:
        waiting = asyncio.create_task(whoami(cluster))
        await until((server.folder / "running").exists, 10, "a run")
        cluster_of(server, {"token": "me"})
        with pytest.raises(ApiError, match="has not answered yet"):
            await cluster.get("/whoami", seconds=0.1)
        assert await whoami(cluster) == "me"
        with pytest.raises(ApiError, match="was stopped"):
            await waiting
    async with cluster_of(server, plugin("no-such-plugin")) as cluster:
        with pytest.raises(ApiError, match="is not there"):
            await whoami(cluster)
        cluster_of(server, {"token": "me"})
        assert await whoami(cluster) == "me"


async def test_a_plugin_is_told_whether_there_is_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(
        tmp_path, f"""printf '%s' "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; echo '{credential(token="me")}'"""
    )
    master, slave = os.openpty()
    with os.fdopen(slave) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        for mode, interactive in (("Never", False), ("IfAvailable", True), ("Always", True)):
            await configured(tmp_path, plugin(path, interactiveMode=mode)).source.get()
            assert json.loads((tmp_path / "info").read_text())["spec"] == {"interactive": interactive}
    os.close(master)


async def test_a_plugin_that_hangs_is_ended(server: HttpsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_plugin, "SECONDS", 2.0)
    path = script(server.folder, "echo 'open https://login.example.com' >&2; exec sleep 60")
    async with cluster_of(server, plugin(path)) as cluster:
        with pytest.raises(ApiError, match=r"did not end within 2 s") as raised:
            await whoami(cluster)
        assert raised.value.hint == "it wrote: open https://login.example.com"


@pytest.mark.parametrize("how", ["its time is over", "the process stops"])
async def test_a_plugin_is_ended_with_all_that_it_has_started(
    server: HttpsServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(exec_plugin, "SECONDS", 2.0 if how == "its time is over" else 60.0)
    child = server.folder / "child"
    path = script(server.folder, f"trap '' TERM; sleep 60 & echo $! > {child}.new; mv {child}.new {child}; wait")
    async with cluster_of(server, plugin(path)) as cluster:
        waiting = asyncio.create_task(whoami(cluster))
        await until(child.exists, 10, "a run")
        if how == "its time is over":
            with pytest.raises(ApiError, match="did not end within 2 s"):
                await waiting
    if how == "the process stops":
        with pytest.raises(ApiError, match="was stopped"):
            await waiting
    await until(lambda: not running(int(child.read_text())), 10, "the end of its child")


async def test_a_plugin_is_told_its_environment_and_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "inherited")
    monkeypatch.setenv("PROFILE", "overridden")
    (tmp_path / "ca").write_text("PEM")
    path = script(
        tmp_path,
        f"""printf '%s %s %s %s' "$OURS" "$PROFILE" "$1" "$2" > {tmp_path}/told
        printf '%s' "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; echo '{credential(token="me")}'""",
    )
    user = plugin(path, args=["get", "a b"], env=[{"name": "PROFILE", "value": "prod"}])
    cluster: dict[str, Any] = {
        "certificate-authority": "ca",
        "tls-server-name": "api",
        "proxy-url": "http://proxy:3128",
        "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}],
    }
    source = configured(tmp_path, user, **cluster).source
    assert (await source.get()).authorization == "Bearer me"
    assert (tmp_path / "told").read_text() == "inherited prod get a b"
    info = {"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": False}}
    assert json.loads((tmp_path / "info").read_text()) == info

    user["exec"]["provideClusterInfo"] = True
    source = configured(tmp_path, user, **cluster).source
    await source.get()
    info["spec"] = {
        "interactive": False,
        "cluster": {
            "server": "https://api.example.com:6443",
            "tls-server-name": "api",
            "certificate-authority-data": "UEVN",
            "proxy-url": "http://proxy:3128",
            "config": {"audience": "a"},
        },
    }
    assert json.loads((tmp_path / "info").read_text()) == info
