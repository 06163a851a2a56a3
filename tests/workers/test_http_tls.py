"""The http trigger over TLS: real servers, real certificates, rotated while it runs."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kubecdc.workers.outcome import Retry, Success
from tests.apiserver.certificates import Authority
from tests.workers.peer import Answer, Peer, saying, serving
from tests.workers.pod import Pod, ref
from tests.workers.support import event


@dataclass
class Certified:
    """An authority of its own, and a server that it vouches for."""

    authority: Authority
    folder: Path

    def issue(self, name: str) -> None:
        self.authority.issue(name, name)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def context(self, clients: Path | None = None) -> ssl.SSLContext:
        """That of the server."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    @asynccontextmanager
    async def serving(self, answer: Answer, clients: Path | None = None) -> AsyncIterator[Peer]:
        async with serving(answer, self.context(clients)) as peer:
            yield peer


def certified(folder: Path) -> Certified:
    folder.mkdir()
    made = Certified(Authority(folder), folder)
    made.issue("server")
    made.issue("client")
    return made


@pytest.fixture
def tls(tmp_path: Path) -> Certified:
    return certified(tmp_path / "pki")


CA = {"tls": {"caCertSecret": ref("pki", "ca.crt")}}
CLIENT = {"clientCertSecret": ref("pki", "tls.crt"), "clientKeySecret": ref("pki", "tls.key")}


async def test_the_authority_of_the_manifest_is_trusted(pod: Pod, tls: Certified) -> None:
    pod.mount("pki", ca_crt=b"# \xc3\xa9, a note\n" + tls.read("ca.crt"))
    async with tls.serving(saying(200)) as peer:
        assert await pod.send(peer.url, CA) == Success()


async def test_a_server_of_an_unknown_authority_is_retried_with_what_to_do(
    pod: Pod, tls: Certified, tmp_path: Path
) -> None:
    other = certified(tmp_path / "other")
    pod.mount("pki", ca_crt=other.read("ca.crt"))
    async with tls.serving(saying(200)) as peer:
        for http in ({}, CA, {"tls": {"enabled": True}}):
            outcome = await pod.send(peer.url, http)
            assert isinstance(outcome, Retry)
            assert outcome.reason.startswith(f"POST {peer.url}: the server's certificate is not accepted: ")
            assert outcome.reason.endswith("name its authority with `tls.caCertSecret`, or correct the address")
    assert peer.received == []


async def test_a_certificate_for_another_name_is_refused(pod: Pod, tls: Certified) -> None:
    pod.mount("pki", ca_crt=tls.read("ca.crt"))
    async with tls.serving(saying(200)) as peer:
        outcome = await pod.send(peer.url.replace("127.0.0.1", "127.0.0.2"), CA)
        # The name that counts is that of the address, not the Host header.
        assert await pod.send(peer.url, {**CA, "host": "elsewhere.example"}) == Success()
    assert isinstance(outcome, Retry)


async def test_insecure_skip_verify_takes_any_certificate(pod: Pod, tls: Certified) -> None:
    async with tls.serving(saying(200)) as peer:
        http = {"tls": {"insecureSkipVerify": True, "caCertSecret": ref("not", "there")}}
        assert await pod.send(peer.url, http) == Success()


@pytest.mark.parametrize("verify", [{"caCertSecret": ref("pki", "ca.crt")}, {"insecureSkipVerify": True}])
async def test_the_client_certificate_is_shown(pod: Pod, tls: Certified, verify: Mapping[str, Any]) -> None:
    shown: list[object] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        shown.append(request.transport.get_extra_info("peercert")["subject"])
        return web.Response()

    pod.mount("pki", ca_crt=tls.read("ca.crt"), tls_crt=tls.read("client.crt"), tls_key=tls.read("client.key"))
    async with tls.serving(answer, clients=tls.folder / "ca.crt") as peer:
        assert await pod.send(peer.url, {"tls": {**CLIENT, **verify}}) == Success()
        assert "client" in str(shown)
        outcome = await pod.send(peer.url, {"tls": verify})  # without one
    assert isinstance(outcome, Retry)
    assert len(shown) == 1


async def test_rotated_certificates_are_used_from_the_next_request_on(pod: Pod, tls: Certified, tmp_path: Path) -> None:
    other = certified(tmp_path / "other")
    pod.mount("pki", ca_crt=tls.read("ca.crt"), tls_crt=tls.read("client.crt"), tls_key=tls.read("client.key"))
    both = {"tls": {**CA["tls"], **CLIENT}}
    tls.issue("next")
    subjects: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        subjects.append(str(request.transport.get_extra_info("peercert")["subject"]))
        return web.Response()

    async with tls.serving(answer, clients=tls.folder / "ca.crt") as peer, pod.route(peer.url, both) as route:
        request = route.request(event())
        assert await route.trigger.execute(request) == Success()
        assert await route.trigger.execute(request) == Success()
        assert len(peer.connections) == 1, "a connection is used again while nothing changes"
        pod.mount("pki", tls_crt=tls.read("next.crt"))  # half of it
        outcome = await route.trigger.execute(request)
        assert isinstance(outcome, Retry)
        assert "key `tls.crt` of Secret `pki` is not a certificate in PEM that fits key `tls.key`" in outcome.reason
        pod.mount("pki", tls_key=tls.read("next.key"))
        assert await route.trigger.execute(request) == Success()
        assert len(peer.connections) == 2
        pod.mount("pki", ca_crt=other.read("ca.crt"))
        assert isinstance(await route.trigger.execute(request), Retry), "the old authority no longer counts"
    assert ["next" in subject for subject in subjects] == [False, False, True]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"ca_crt": "nonsense"}, "key `ca.crt` of Secret `pki` is not a certificate in PEM"),
        ({"ca_crt": ""}, "key `ca.crt` of Secret `pki` is not a certificate in PEM"),
        ({"tls_crt": "nonsense"}, "key `tls.crt` of Secret `pki` is not a certificate in PEM that fits"),
        ({"tls_key": "nonsense"}, "key `tls.crt` of Secret `pki` is not a certificate in PEM that fits"),
    ],
)
async def test_a_file_that_is_no_certificate_is_retried(
    pod: Pod, tls: Certified, keys: dict[str, str], reason: str
) -> None:
    pod.mount("pki", ca_crt=tls.read("ca.crt"), tls_crt=tls.read("client.crt"), tls_key=tls.read("client.key"))
    pod.mount("pki", **keys)
    outcome = await pod.send("https://127.0.0.1:1/", {"tls": {**CA["tls"], **CLIENT}})
    assert isinstance(outcome, Retry)
    assert reason in outcome.reason


async def test_a_key_with_a_password_is_retried_and_nobody_is_asked(pod: Pod, tls: Certified) -> None:
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(tls.read("client.key"), None)
    locked = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x"))
    pod.mount("pki", tls_crt=tls.read("client.crt"), tls_key=locked)
    outcome = await pod.send("https://127.0.0.1:1/", {"tls": CLIENT})
    assert isinstance(outcome, Retry)


async def test_a_server_without_tls_is_retried(pod: Pod) -> None:
    async with serving(saying(200)) as peer:
        outcome = await pod.send(peer.url.replace("http:", "https:"), {"tls": {"insecureSkipVerify": True}})
    assert isinstance(outcome, Retry)
    assert "TLS failed" in outcome.reason
