"""Whom we trust and which certificate we present; both are rotated while the process runs."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubecdc.cluster import configuration
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.tls import KeyPair, Trust, tls_context
from kubecdc.errors import UsageError
from tests.apiserver.certificates import Authority
from tests.cluster.https_server import HttpsServer, whoami
from tests.cluster.kubeconfigs import configured, credential, kubeconfig, plugin, script


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HttpsServer]:
    async with HttpsServer(tmp_path).listening() as made:
        yield made


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def cluster_fields(server: HttpsServer, *, data: bool = False) -> dict[str, Any]:
    authority = server.folder / "ca.crt"
    shown = {"certificate-authority-data": encoded(authority)} if data else {"certificate-authority": str(authority)}
    return {"server": server.url, **shown}


@pytest.mark.parametrize("data", [False, True], ids=["file", "data"])
async def test_an_authority_that_is_rotated_is_read_again(server: HttpsServer, data: bool) -> None:
    path = kubeconfig(server.folder, {"token": "me"}, **cluster_fields(server, data=data))
    async with Cluster(path) as cluster:
        assert await whoami(cluster) == "me"
        before = (server.folder / "ca.crt").read_bytes()
        server.new_authority()
        after = (server.folder / "ca.crt").read_bytes()
        (server.folder / "ca.crt").write_bytes(before)
        for _ in range(2):  # the server is first, its authority is published later
            with pytest.raises(ApiError, match="certificate verify failed") as raised:
                await whoami(cluster)
            assert "certificate-authority" in raised.value.hint
        (server.folder / "ca.crt").write_bytes(after)
        kubeconfig(server.folder, {"token": "me"}, **cluster_fields(server, data=data))
        assert await whoami(cluster) == "me"


@pytest.mark.parametrize("data", [False, True], ids=["file", "data"])
async def test_a_client_certificate_that_is_rotated_is_read_again(server: HttpsServer, data: bool) -> None:
    folder = server.folder

    def user() -> dict[str, str]:
        if data:
            return {
                "client-certificate-data": encoded(folder / "me.crt"),
                "client-key-data": encoded(folder / "me.key"),
            }
        return {"client-certificate": "me.crt", "client-key": "me.key"}

    authority = Authority(folder)
    authority.issue("me", "old")
    path = kubeconfig(folder, user(), **cluster_fields(server))
    async with Cluster(path) as cluster:
        assert await whoami(cluster) == "old"
        server.accepts = "new"
        with pytest.raises(ApiError, match="401"):
            await whoami(cluster)
        key = (folder / "me.key").read_bytes()
        authority.issue("me", "new")
        if not data:  # the certificate is there, its key is not yet
            new = (folder / "me.key").read_bytes()
            (folder / "me.key").write_bytes(key)
            with pytest.raises(ApiError, match=r"reading the credentials again failed: .*key values mismatch"):
                await whoami(cluster)
            (folder / "me.key").write_bytes(new)
        kubeconfig(folder, user(), **cluster_fields(server))
        assert await whoami(cluster) == "new"


async def test_a_certificate_from_a_plugin_is_presented_and_replaced_when_it_is_refused(server: HttpsServer) -> None:
    folder, authority = server.folder, Authority(server.folder)

    def print_certificate(user: str) -> None:
        authority.issue("me", user)
        pair = {"clientCertificateData": folder / "me.crt", "clientKeyData": folder / "me.key"}
        (folder / "answer").write_text(credential(**{name: path.read_text() for name, path in pair.items()}))

    print_certificate("old")
    path = kubeconfig(folder, plugin(script(folder, f"cat {folder}/answer")), **cluster_fields(server))
    async with Cluster(path) as cluster:
        assert await whoami(cluster) == "old"
        server.accepts = "new"
        print_certificate("new")
        with pytest.raises(ApiError, match="401"):
            await whoami(cluster)
        assert await whoami(cluster) == "new"


async def test_in_a_pod_the_authority_and_the_token_are_read_again(
    server: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, _, port = server.url.removeprefix("https://").partition(":")
    monkeypatch.setattr(configuration, "SERVICE_ACCOUNT", server.folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setenv("HOME", str(server.folder))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    (server.folder / "token").write_text("one\n")
    async with Cluster() as cluster:
        assert cluster.facts == {"server": server.url, "user": "the pod's service account"}
        assert await whoami(cluster) == "one"
        server.new_authority()
        with pytest.raises(ApiError, match="certificate verify failed"):
            await whoami(cluster)
        assert await whoami(cluster) == "one"
        server.accepts = "two"
        (server.folder / "token").write_text("two\n")
        with pytest.raises(ApiError, match="401"):
            await whoami(cluster)
        assert await whoami(cluster) == "two"


async def test_what_was_read_last_counts_while_the_kubeconfig_is_away_and_its_context_stays(
    server: HttpsServer,
) -> None:
    path = Path(kubeconfig(server.folder, {"token": "me"}, **cluster_fields(server)))
    async with Cluster(str(path)) as cluster:
        whole = path.read_text()
        path.unlink()
        server.accepts = "you"
        for _ in range(2):
            with pytest.raises(ApiError, match="401"):
                await whoami(cluster)
        server.accepts = "me"
        assert await whoami(cluster) == "me"
        server.accepts = "you"
        path.write_text(whole.replace("token: me", "token: you").replace("current-context: it", "current-context: x"))
        assert await whoami(cluster) == "you"


@pytest.mark.parametrize("strict", [False, True], ids=["as the default is", "as the default is from Python 3.13 on"])
async def test_certificates_that_older_clusters_made_are_taken(
    tmp_path: Path, strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = ssl.create_default_context

    def default(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        context = create(*args, **kwargs)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    async with HttpsServer(tmp_path, old=True).listening() as server:
        if strict:
            monkeypatch.setattr(ssl, "create_default_context", default)
        async with Cluster(kubeconfig(tmp_path, {"token": "me"}, **cluster_fields(server))) as cluster:
            assert await whoami(cluster) == "me"


async def test_a_server_certificate_may_itself_be_what_is_trusted(server: HttpsServer) -> None:
    fields = {**cluster_fields(server), "certificate-authority": "server.crt"}
    async with Cluster(kubeconfig(server.folder, {"token": "me"}, **fields)) as cluster:
        assert await whoami(cluster) == "me"


async def test_a_bundle_may_hold_comments_and_several_authorities(server: HttpsServer) -> None:
    (server.folder / "other").mkdir()
    Authority(server.folder / "other")
    parts = ["# Zürich", (server.folder / "other" / "ca.crt").read_text(), (server.folder / "ca.crt").read_text()]
    (server.folder / "bundle").write_text("\r\n".join(parts))
    fields = {**cluster_fields(server), "certificate-authority": "bundle"}
    async with Cluster(kubeconfig(server.folder, {"token": "me"}, **fields)) as cluster:
        assert await whoami(cluster) == "me"


async def test_an_unknown_server_is_refused_unless_told_otherwise(server: HttpsServer) -> None:
    async with Cluster(kubeconfig(server.folder, {"token": "me"}, server=server.url)) as cluster:
        with pytest.raises(ApiError, match="certificate verify failed"):
            await whoami(cluster)
        assert server.asked == 0
    path = kubeconfig(server.folder, {"token": "me"}, server=server.url, **{"insecure-skip-tls-verify": True})
    async with Cluster(path) as cluster:
        assert await whoami(cluster) == "me"


async def test_a_name_that_the_certificate_must_be_for(server: HttpsServer) -> None:
    for name, fails in (("localhost", False), ("elsewhere.example.com", True)):
        path = kubeconfig(server.folder, {"token": "me"}, **cluster_fields(server), **{"tls-server-name": name})
        async with Cluster(path) as cluster:
            if fails:
                with pytest.raises(ApiError, match=r"elsewhere\.example\.com"):
                    await whoami(cluster)
            else:
                assert await whoami(cluster) == "me"


def test_certificates_that_cannot_be_used_are_refused_by_name(tmp_path: Path) -> None:
    Authority(tmp_path).issue("me", "me")
    certificate, key = (tmp_path / "me.crt").read_bytes(), (tmp_path / "me.key").read_bytes()
    command = ["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", str(tmp_path / "me.key")]
    encrypted = subprocess.run(command, capture_output=True, check=True).stdout
    cases: list[tuple[Trust, KeyPair | None, str]] = [
        (Trust(b"nothing"), None, "certificate-authority has no PEM certificate"),
        (Trust(certificate.replace(b"\nMI", b"\nXX")), None, "certificate-authority is not a PEM certificate"),
        (Trust(), KeyPair(certificate, (tmp_path / "ca.key").read_bytes()), "key values mismatch"),
        (Trust(), KeyPair(key, key), "client-certificate and client-key cannot be used"),
        (Trust(), KeyPair(certificate, encrypted), "client-key is encrypted"),
    ]
    for trust, pair, text in cases:
        with pytest.raises(UsageError, match=text) as raised:
            tls_context(trust, pair)
        assert raised.value.hint


def test_where_a_key_needs_a_file_that_cannot_be_made_the_hint_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")  # as on systems other than Linux
    Authority(tmp_path).issue("me", "me")
    pair = KeyPair((tmp_path / "me.crt").read_bytes(), (tmp_path / "me.key").read_bytes())
    tls_context(Trust(), pair)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not-there"))
    with pytest.raises(UsageError, match="need a temporary file, which cannot be made") as raised:
        tls_context(Trust(), pair)
    assert "TMPDIR" in raised.value.hint


@pytest.mark.parametrize(
    ("cluster", "text"),
    [
        ({"certificate-authority": "missing"}, "certificate-authority cannot be read"),
        ({"certificate-authority-data": "%"}, "certificate-authority-data is not base64"),
        (
            {"certificate-authority": "ca.crt", "certificate-authority-data": "eA=="},
            "certificate-authority and certificate-authority-data are both given",
        ),
        (
            {"certificate-authority": "ca.crt", "insecure-skip-tls-verify": True},
            "certificate-authority and insecure-skip-tls-verify are both given",
        ),
        ({"insecure-skip-tls-verify": "true"}, "insecure-skip-tls-verify: Expected `bool`, got `str`"),
        ({"server": ""}, "the cluster 'it' has no server"),
    ],
)
def test_what_kubectl_refuses_of_a_cluster_is_refused_by_name(
    tmp_path: Path, cluster: dict[str, Any], text: str
) -> None:
    Authority(tmp_path)
    with pytest.raises(UsageError) as raised:
        configured(tmp_path, {}, **cluster)
    assert text in str(raised.value)
