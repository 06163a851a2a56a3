"""The http trigger with what must not be shown, and over TLS: mounted files, real servers, real certificates."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.apiserver.certificates import Authority
from tests.workers.peer import Answer, Peer, saying, serving
from tests.workers.support import MemorySubscription, event, http_trigger, sensor, settings, until
from workers.mounts import Mounts
from workers.outcome import Failure, Outcome, Retry, Success
from workers.parameters import ParameterError
from workers.pipeline import consume
from workers.route import Route
from workers.triggers import Context, build
from workers.triggers.message import BadUrl


@dataclass
class Pod:
    """What is mounted into a pod, and triggers that run in it."""

    mounts: Mounts

    def mount(self, name: str, **keys: str | bytes) -> None:
        """A Secret; underscores in keys stand for dots."""
        self._write(self.mounts.secrets / name, keys)

    def mount_config(self, name: str, **keys: str | bytes) -> None:
        self._write(self.mounts.configs / name, keys)

    def _write(self, folder: Path, keys: Mapping[str, str | bytes]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in keys.items():
            (folder / key.replace("_", ".")).write_bytes(value.encode() if isinstance(value, str) else value)

    @asynccontextmanager
    async def route(self, url: str, http: Mapping[str, Any], **more: Any) -> AsyncIterator[Route]:
        made = sensor(http_trigger(url, http, **more))
        manifest = made.spec.triggers[0]
        trigger = build(manifest, Context("s", 4, mounts=self.mounts))
        try:
            yield Route(made, manifest, trigger)
        finally:
            await trigger.close()

    async def send(self, url: str, http: Mapping[str, Any], **more: Any) -> Outcome:
        async with self.route(url, http, **more) as route:
            return await route.trigger.execute(route.request(event()))


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(Mounts(tmp_path / "secrets", tmp_path / "config"))


def ref(name: str, key: str) -> dict[str, str]:
    return {"name": name, "key": key}


def secret_header(name: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": ref(secret, key)}}


TOKEN = {"secureHeaders": [secret_header("X-Token", "api", "token")]}
LOGIN = {"basicAuth": {"username": ref("login", "user"), "password": ref("login", "password")}}
SECRET = "s3cr3t-value"


def test_without_options_files_are_where_argo_mounts_them() -> None:
    assert (str(Mounts().secrets), str(Mounts().configs)) == ("/argo-events/secrets", "/argo-events/config")


async def test_secure_headers_come_from_secrets_and_config_maps_without_the_last_line_end(pod: Pod) -> None:
    pod.mount("api", token=f"{SECRET}\n")
    pod.mount_config("settings", tenant_id="tenant é")
    config = {"name": "X-Tenant", "valueFrom": {"configMapKeyRef": ref("settings", "tenant.id")}}
    async with serving(saying(200)) as peer:
        assert await pod.send(peer.url, {"secureHeaders": [*TOKEN["secureHeaders"], config]}) == Success()
    headers = peer.received[0].headers
    assert headers["x-token"] == SECRET
    assert headers["x-tenant"] == "tenant é"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (LOGIN["basicAuth"], "me:pass:wörd"),
        ({"username": ref("login", "user")}, "me:"),
        ({"password": ref("login", "password")}, ":pass:wörd"),
    ],
)
async def test_basic_auth_goes_before_every_other_authorization(
    pod: Pod, auth: Mapping[str, Any], expected: str
) -> None:
    pod.mount("login", user="me\n", password="pass:wörd\n", token="no")
    http = {
        "basicAuth": auth,
        "headers": {"authorization": "no"},
        "secureHeaders": [secret_header("AUTHORIZATION", "login", "token")],
    }
    async with serving(saying(200)) as peer:
        assert await pod.send(peer.url.replace("//", "//also:no@"), http) == Success()
    assert peer.received[0].headers["authorization"] == "Basic " + base64.b64encode(expected.encode()).decode()


async def test_of_headers_with_one_name_the_secure_one_wins_then_the_dynamic_one(pod: Pod) -> None:
    pod.mount("api", token=SECRET)
    dynamic = [
        {"src": {"dependencyName": "dep", "dataKey": "type"}, "dest": "x-token"},
        {"src": {"dependencyName": "dep", "dataKey": "body.n", "useRawData": True}, "dest": "x-n"},
        {"src": {"dependencyName": "dep", "dataKey": "none", "value": "default"}, "dest": "X-Default"},
        {"src": {"dependencyName": "dep", "value": "x"}, "dest": "Idempotency-Key"},
    ]
    http = {"headers": {"X-TOKEN": "no", "X-N": "no"}, "dynamicHeaders": dynamic, **TOKEN}
    async with serving(saying(200)) as peer:
        await pod.send(peer.url, http)
    headers = peer.received[0].headers
    assert (headers["x-token"], headers["x-n"], headers["x-default"]) == (SECRET, "100", "default")
    assert headers["idempotency-key"] != "x"


@pytest.mark.parametrize("src", [{"dataKey": "missing"}, {"value": "two\nlines"}])
async def test_a_dynamic_header_that_cannot_be_had_is_never_sent(pod: Pod, src: Mapping[str, str]) -> None:
    dynamic = [{"src": {"dependencyName": "dep", **src}, "dest": "X-A"}]
    async with pod.route("http://x", {"dynamicHeaders": dynamic}) as route:
        with pytest.raises(ParameterError, match=r"missing|`X-A`"):
            route.request(event())


async def test_host_is_the_host_header_and_not_the_address(pod: Pod) -> None:
    async with serving(saying(200)) as peer:
        assert await pod.send(peer.url, {"host": "example.com:81", "headers": {"host": "no"}}) == Success()
    assert peer.received[0].headers["host"] == "example.com:81"


async def test_parameters_choose_the_key_and_cannot_leave_the_folder(pod: Pod) -> None:
    pod.mount("api", ADD=SECRET)
    (pod.mounts.secrets / "other").write_text("no")
    dest = "secureHeaders.0.valueFrom.secretKeyRef.key"

    def chosen(**src: str) -> dict[str, Any]:
        return {**TOKEN, "parameters": [{"src": {"dependencyName": "dep", **src}, "dest": dest}]}

    async with serving(saying(200)) as peer:
        assert await pod.send(peer.url, chosen(dataKey="type")) == Success()
        with pytest.raises(ParameterError, match="not a key"):
            await pod.send(peer.url, chosen(value="../other"))
    assert [r.headers["x-token"] for r in peer.received] == [SECRET]


async def test_a_missing_secret_is_retried_with_its_name_key_file_and_the_fix(pod: Pod) -> None:
    async with serving(saying(200)) as peer:
        outcome = await pod.send(peer.url, TOKEN)
        folder = pod.mounts.secrets / "api"
        assert outcome == Retry(
            f"key `token` of Secret `api` is not mounted: there is no file {folder}/token; "
            f"mount it at {folder}, or give its place with --secrets-dir"
        )
        folder.mkdir(parents=True)
        outcome = await pod.send(peer.url, TOKEN)
        assert outcome == Retry(
            f"key `token` of Secret `api` is not mounted: there is no file {folder}/token; add the key"
        )
    assert peer.received == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"two\nlines", "has characters that header `X-Token` cannot carry"),
        (b"\xff\xfe", "is not text in UTF-8"),
    ],
)
async def test_a_secret_that_cannot_be_sent_is_retried_and_not_shown(pod: Pod, content: bytes, reason: str) -> None:
    pod.mount("api", token=content)
    outcome = await pod.send("http://127.0.0.1:1/", TOKEN)
    assert isinstance(outcome, Retry)
    assert reason in outcome.reason
    assert "lines" not in outcome.reason


async def test_a_rotated_secret_is_used_from_the_next_request_on(pod: Pod) -> None:
    pod.mount("api", token="one")
    async with serving(saying(200)) as peer, pod.route(peer.url, TOKEN) as route:
        await route.trigger.execute(route.request(event()))
        pod.mount("api", token="two")
        await route.trigger.execute(route.request(event()))
    assert [r.headers["x-token"] for r in peer.received] == ["one", "two"]


@pytest.mark.parametrize("status", [400, 503])
async def test_what_the_peer_repeats_of_the_secrets_is_hidden(pod: Pod, status: int) -> None:
    pod.mount("api", token=SECRET)
    pod.mount("login", user="me-myself", password="pass-word")

    async def echo(request: web.Request) -> web.Response:
        told = f"{request.headers['Authorization']} {request.headers['X-Token']} me-myself pass-word url-password"
        return web.Response(status=status, text=told, reason=f"No {SECRET}")

    async with serving(echo) as peer:
        outcome = await pod.send(peer.url.replace("//", "//u:url-password@"), {**TOKEN, **LOGIN})
    assert isinstance(outcome, Retry | Failure)
    assert outcome.reason == f"POST {peer.url}: {status} No ***: Basic *** *** *** *** ***"


@pytest.mark.parametrize("url", ["htp://me:secret@host/?secret", "me:secret@host", "http://me:secret@host:port/"])
async def test_an_address_that_is_not_valid_is_told_without_its_password(pod: Pod, url: str) -> None:
    outcome = await pod.send(url, {})
    assert isinstance(outcome, Failure)
    assert "secret" not in outcome.reason


async def test_a_preview_shows_the_request_without_secrets_and_reads_none(pod: Pod) -> None:
    payload = [{"src": {"dependencyName": "dep", "dataKey": "body.n", "useRawData": True}, "dest": "n"}]
    async with pod.route("https://u:pw@host/p?q=1", {**TOKEN, **LOGIN, "payload": payload, "host": "h"}) as route:
        shown = route.trigger.preview(route.request(event()))
        headers = shown["headers"]
        assert isinstance(headers, dict)
        assert (headers["X-Token"], headers["Authorization"], headers["Host"]) == ("***", "Basic ***", "h")
        assert (shown["method"], shown["url"], bytes(shown["body"])) == ("POST", "https://host/p?q=1", b'{"n":100}')  # type: ignore[call-overload]
    async with pod.route("https://u:pw@host/", {"method": "GET"}) as route:
        shown = route.trigger.preview(route.request(event()))
        assert (shown["url"], shown["body"]) == ("https://u:***@host/", None)
    async with pod.route("nonsense", {}) as route:
        with pytest.raises(BadUrl):
            route.trigger.preview(route.request(event()))


async def test_what_fails_for_all_events_in_the_same_way_is_said_once(
    pod: Pod, capsys: pytest.CaptureFixture[str]
) -> None:
    import asyncio

    subscription, stop = MemorySubscription(), asyncio.Event()
    async with serving(saying(200)) as peer, pod.route(peer.url, TOKEN) as route:
        failing = [subscription.give(event(n, key=str(n))) for n in range(5)]
        task = asyncio.create_task(consume(subscription, route, settings(), stop=stop))
        await until(lambda: all(d.settled.is_set() for d in failing))
        pod.mount("api", token=SECRET)
        done = subscription.give(event(6))
        await until(done.settled.is_set)
        stop.set()
        await task
    assert [d.last for d in failing] == ["nack"] * 5
    assert done.last == "ack"
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "is not mounted" in warnings[0]


@dataclass
class Certified:
    """An authority of its own, and a server that it vouches for."""

    authority: Authority
    folder: Path

    def issue(self, name: str) -> None:
        self.authority.issue(name, name)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    @asynccontextmanager
    async def serving(self, answer: Answer, clients: Path | None = None) -> AsyncIterator[Peer]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
        async with serving(answer, context) as peer:
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
