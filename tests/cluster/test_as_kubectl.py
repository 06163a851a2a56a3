"""The same kubeconfigs given to kubectl: it sends the same, and refuses the same."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubecdc.cluster.connection import Cluster
from kubecdc.errors import KubecdcError
from tests.apiserver.certificates import Authority
from tests.cluster.https_server import HttpsServer, headers
from tests.cluster.kubeconfigs import kubeconfig, script
from tests.cluster.test_impersonation import USER as IMPERSONATING
from tests.cluster.test_users import REFUSED, USERS

KUBECTL = shutil.which("kubectl") or ""
pytestmark = pytest.mark.skipif(not KUBECTL, reason="there is no kubectl on PATH")

LENIENT = {"a token with a line end"}  # kubectl fails
ONLY_KUBECTL_ASKS = {"nobody", "a password without a name"}  # for a user and a password
SENT = {name: user for name, (user, _) in USERS.items() if name not in LENIENT | ONLY_KUBECTL_ASKS}
PAIR = {"client-certificate": "me.crt", "client-key": "me.key"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HttpsServer]:
    async with HttpsServer(tmp_path).listening() as made:
        (tmp_path / "token").write_text("from-file\r\n")
        (tmp_path / "empty").write_text("\n")
        Authority(tmp_path).issue("me", "me")
        answer = (
            '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-exec"}}'
        )
        script(tmp_path, f"echo '{answer}'")
        yield made


def identity(sent: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers that say who one is, in the same order for everybody."""
    return sorted((n.lower(), v) for n, v in sent if n.lower().startswith(("authorization", "impersonate")))


async def by_kubectl(path: str, *options: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        KUBECTL,
        "--kubeconfig",
        path,
        *options,
        "get",
        "--raw",
        "/whoami",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(Path(path).parent)},
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def written(server: HttpsServer, user: dict[str, Any]) -> str:
    return kubeconfig(server.folder, user, **{"server": server.url, "certificate-authority": "ca.crt"})


CASES: dict[str, dict[str, Any]] = {
    **SENT,
    "impersonation": IMPERSONATING,
    "a certificate": PAIR,
    "a certificate and a token": {**PAIR, "token": "given"},
    "a certificate before a plugin": {**PAIR, **USERS["exec plugin"][0]},
}


@pytest.mark.parametrize("user", CASES.values(), ids=CASES.keys())
async def test_what_kubectl_sends_is_sent(server: HttpsServer, user: dict[str, Any]) -> None:
    path = written(server, user)
    code, out, err = await by_kubectl(path)
    assert code == 0, err
    theirs = json.loads(out)
    async with Cluster(path) as cluster:
        ours = json.loads(await cluster.get("/whoami"))
    assert identity(ours["headers"]) == identity(theirs["headers"])
    assert ours["user"] == theirs["user"]


@pytest.mark.parametrize("name", REFUSED.keys())
async def test_what_is_refused_kubectl_refuses_too(server: HttpsServer, name: str) -> None:
    code, out, err = await by_kubectl(written(server, REFUSED[name][0]))
    assert code != 0, f"{out}\n{err}"


async def test_an_old_cluster_is_taken_by_both(tmp_path: Path) -> None:
    async with HttpsServer(tmp_path, old=True).listening() as server:
        code, _, err = await by_kubectl(written(server, {"token": "me"}))
        assert code == 0, err
        async with Cluster(written(server, {"token": "me"})) as cluster:
            assert ("Authorization", "Bearer me") in await headers(cluster)


async def test_a_server_of_another_authority_is_refused_by_both(server: HttpsServer) -> None:
    path = kubeconfig(server.folder, {"token": "me"}, server=server.url)
    assert (await by_kubectl(path))[0] != 0
    async with Cluster(path) as cluster:
        with pytest.raises(KubecdcError, match="certificate verify failed"):
            await cluster.get("/whoami")
