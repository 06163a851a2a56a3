"""Tokens of an OpenID Connect issuer."""

from __future__ import annotations

import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kubecdc.cluster.errors import ApiError
from tests.apiserver.certificates import server_context
from tests.cluster.kubeconfigs import configured
from tests.cluster.test_users import jwt
from tests.harness.forward_proxy import ForwardProxy
from tests.served import served

HEADER = "Basic " + b64encode(b"kubecdc:secret").decode()


class Issuer:
    """Exchanges refresh tokens, each once. ``takes_header``: where it wants the client's secret."""

    def __init__(self) -> None:
        self.url = ""
        self.refresh = "given"
        self.takes_header = True
        self.answer: dict[str, Any] = {}
        self.headers: list[str | None] = []

    async def discovery(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers.get("Authorization"))
        return web.json_response({"token_endpoint": f"{self.url}/token"})

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        in_header = request.headers.get("Authorization") == HEADER
        in_form = (form.get("client_id"), form.get("client_secret")) == ("kubecdc", "secret")
        if not (in_header if self.takes_header else in_form and "Authorization" not in request.headers):
            return web.json_response({"error": "invalid_client"}, status=401)
        if form["grant_type"] != "refresh_token" or form["refresh_token"] != self.refresh:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.refresh = str(self.answer.get("refresh_token", self.refresh))
        return web.json_response(self.answer)


@asynccontextmanager
async def running(tls: ssl.SSLContext | None) -> AsyncIterator[Issuer]:
    made = Issuer()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", made.discovery)
    app.router.add_post("/token", made.token)
    async with served(app, tls, access_log=None) as made.url:
        yield made


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    async with running(server_context(tmp_path)) as made:
        yield made


def user(issuer: Issuer, token: str, **more: str) -> dict[str, Any]:
    config = {
        "idp-issuer-url": issuer.url,
        "client-id": "kubecdc",
        "client-secret": "secret",
        "id-token": token,
        "refresh-token": "given",
        **more,
    }
    return {"auth-provider": {"name": "oidc", "config": {name: value for name, value in config.items() if value}}}


@pytest.mark.parametrize("takes_header", [True, False], ids=["secret in a header", "secret in the form"])
async def test_an_expired_token_is_exchanged_and_so_is_one_that_was_refused(
    issuer: Issuer, tmp_path: Path, takes_header: bool
) -> None:
    issuer.takes_header = takes_header
    authority = {"idp-certificate-authority": str(tmp_path / "ca.crt")}
    source = configured(tmp_path, user(issuer, jwt(time.time() - 60, "old"), **authority)).source
    first, second = jwt(time.time() + 600, "first"), jwt(time.time() + 600, "second")
    issuer.answer = {"id_token": first, "refresh_token": "next"}
    assert (await source.get()).authorization == f"Bearer {first}"
    issuer.answer = {"id_token": second}
    credential = await source.get()
    assert credential.authorization == f"Bearer {first}"
    source.reject(credential)
    assert (await source.get()).authorization == f"Bearer {second}"


async def test_what_went_wrong_at_the_issuer_is_said(issuer: Issuer, tmp_path: Path) -> None:
    data = {"idp-certificate-authority-data": b64encode((tmp_path / "ca.crt").read_bytes()).decode()}
    old = jwt(time.time() - 60, "old")
    cases: list[tuple[dict[str, Any], str]] = [
        (user(issuer, old, **data, **{"refresh-token": "used"}), "/token answered 400: .*invalid_grant"),
        (user(issuer, old, **data), "the issuer sent no id_token"),
        (user(issuer, old, **{"refresh-token": ""}), "the id-token has expired, and there is no refresh-token"),
        (user(issuer, old), "the issuer cannot be reached: .*certificate verify failed"),
        (user(issuer, "no token", **data), "the id-token is not a JSON Web Token"),
    ]
    for settings, text in cases:
        with pytest.raises(ApiError, match=text) as raised:
            await configured(tmp_path, settings).source.get()
        assert raised.value.status == 401
        assert raised.value.hint


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_the_issuer_is_reached_through_the_proxy_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """The proxy of the kubeconfig is for the API server only, as in client-go."""
    token = jwt(time.time() + 600, "new")
    async with running(None) as issuer, ForwardProxy(int(issuer.url.rpartition(":")[2]), account="me:secret") as proxy:
        issuer.answer = {"id_token": token}
        monkeypatch.setenv("HTTP_PROXY", f"{scheme}://me:secret@127.0.0.1:{proxy.port}")
        elsewhere: dict[str, Any] = {"proxy-url": "http://proxy.example.invalid:1"}
        found = await configured(tmp_path, user(issuer, ""), **elsewhere).source.get()
        assert found.authorization == f"Bearer {token}"
        assert proxy.asked == [], "this machine needs no proxy"
        issuer.url = "http://issuer.example.invalid:8080"
        assert (await configured(tmp_path, user(issuer, "")).source.get()).authorization == f"Bearer {token}"
        assert set(proxy.asked) == {f"{scheme.upper().rstrip('5')} issuer.example.invalid:8080"}
        monkeypatch.setenv("HTTP_PROXY", f"{scheme}://me:wrong@127.0.0.1:{proxy.port}")
        with pytest.raises(ApiError, match=rf"through the proxy {scheme}://[*]+@127.0.0.1:{proxy.port}: ") as refused:
            await configured(tmp_path, user(issuer, "")).source.get()
        assert "wrong" not in str(refused.value)


async def test_no_password_of_a_netrc_is_sent_to_the_issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with running(None) as issuer:
        issuer.answer = {"id_token": jwt(time.time() + 600, "new")}
        await configured(tmp_path, user(issuer, "")).source.get()
        assert issuer.headers == [None]


async def test_an_issuer_or_a_proxy_whose_address_is_none_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = Issuer()
    for issuer.url in ("issuer.example.com", "ftp://issuer.example.com", "http://[", "https://"):
        with pytest.raises(ApiError, match="is no HTTP address of an issuer"):
            await configured(tmp_path, user(issuer, "")).source.get()
    issuer.url = "http://issuer.example.com"
    monkeypatch.setenv("HTTP_PROXY", "ftp://me:secret@proxy.example.com")
    with pytest.raises(ApiError, match=r"HTTP_PROXY 'ftp://[*]+@proxy.example.com'") as raised:
        await configured(tmp_path, user(issuer, "")).source.get()
    assert "secret" not in str(raised.value)
