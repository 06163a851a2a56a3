"""Every field of a kubeconfig's user: sent as kubectl sends it, or refused by name."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kubecdc.cluster.configuration import load_configuration
from kubecdc.cluster.credentials import TOKEN_FILE_SECONDS, TokenFile
from kubecdc.cluster.errors import ApiError
from kubecdc.errors import UsageError
from tests.apiserver.certificates import Authority
from tests.cluster.kubeconfigs import V1, configured, credential, kubeconfig, plugin, script


def jwt(expires: float, name: str) -> str:
    """A JSON Web Token without a signature that counts."""
    parts = [{"alg": "none"}, {"exp": int(expires), "name": name}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


OIDC = {"idp-issuer-url": "https://issuer.example.com", "client-id": "kubecdc", "id-token": jwt(4e9, "me")}
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
USERS: dict[str, tuple[dict[str, Any], str]] = {
    "nobody": ({}, ""),
    "token": ({"token": "given"}, "Bearer given"),
    "a token with a line end": ({"token": "given\n"}, "Bearer given"),
    "token file": ({"tokenFile": "token"}, "Bearer from-file"),
    "an empty token and a file": ({"token": "", "tokenFile": "token"}, "Bearer from-file"),
    "a token and a file: the file wins": ({"token": "given", "tokenFile": "token"}, "Bearer from-file"),
    "a token and a file that is not there": ({"token": "given", "tokenFile": "missing"}, "Bearer given"),
    "a password without a name": ({"password": "secret"}, ""),
    "basic": ({"username": "me", "password": "secret"}, BASIC),
    "oidc": ({"auth-provider": {"name": "oidc", "config": OIDC}}, f"Bearer {OIDC['id-token']}"),
    "exec plugin": (plugin("./plugin"), "Bearer from-exec"),
    "a token before an exec plugin": ({"token": "given", **plugin("./plugin")}, "Bearer given"),
    "a password before an exec plugin": ({"username": "me", "password": "secret", **plugin("./plugin")}, BASIC),
    "null is absent": ({"token": None, "exec": None, "as-groups": None, "username": "me", "password": "secret"}, BASIC),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("from-file\r\n")
    script(tmp_path, f"echo '{credential(token='from-exec')}'")
    return tmp_path


@pytest.mark.parametrize(("user", "expected"), USERS.values(), ids=USERS.keys())
async def test_the_credentials_that_kubectl_would_send_are_sent(
    folder: Path, user: dict[str, Any], expected: str
) -> None:
    found = configured(folder, user)
    assert (await found.source.get()).authorization == expected
    await found.source.close()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a token and a password": ({"token": "given", "username": "me"}, "a token and a username are both given"),
    "a token file and a password": ({"tokenFile": "token", "username": "x"}, "a token and a username are both given"),
    "a plugin and a provider": (
        {**plugin("./plugin"), "auth-provider": {"name": "oidc"}},
        "exec and auth-provider are both given",
    ),
    "gcp": ({"auth-provider": {"name": "gcp"}}, "auth-provider 'gcp' is not supported"),
    "azure": ({"auth-provider": {"name": "azure"}}, "auth-provider 'azure' is not supported"),
    "oidc without issuer": ({"auth-provider": {"name": "oidc"}}, "auth-provider oidc: idp-issuer-url is missing"),
    "a token file that is not there": ({"tokenFile": "missing"}, "missing cannot be read"),
    "an empty token file": ({"tokenFile": "empty"}, "empty is empty"),
    "two lines in a token": ({"token": "one\ntwo"}, "the token contains a line end"),
    "a number as token": ({"token": 5}, "the user 'me': token: Expected `str`, got `int`"),
    "exec without command": ({"exec": {"apiVersion": V1, "interactiveMode": "Never"}}, "exec: command is missing"),
    "exec without version": ({"exec": {"command": "x", "interactiveMode": "Never"}}, "exec: apiVersion ''"),
    "exec of an old version": (
        plugin("x", apiVersion="client.authentication.k8s.io/v1alpha1"),
        "exec: apiVersion 'client.authentication.k8s.io/v1alpha1' is not supported",
    ),
    "v1 without mode": ({"exec": {"command": "x", "apiVersion": V1}}, "exec: interactiveMode is 'missing'"),
    "unknown mode": (plugin("x", interactiveMode="Maybe"), "exec: interactiveMode is 'Maybe'"),
    "a variable without name": (plugin("x", env=[{"name": "", "value": "a"}]), "exec: a variable in env has no name"),
    "groups without user": ({"as-groups": ["a"]}, "without a user"),
    "uid without user": ({"as-uid": "1"}, "without a user"),
    "extra without user": ({"as-user-extra": {"a": ["b"]}}, "without a user"),
    "a line end in as": ({"as": "a\nImpersonate-Group: system:masters"}, "Impersonate-User is to hold contains a line"),
    "certificate and data": (
        {"client-certificate": "me.crt", "client-certificate-data": "eA==", "client-key": "me.key"},
        "client-certificate and client-certificate-data are both given",
    ),
    "certificate without key": ({"client-certificate": "me.crt"}, "client-certificate is given without client-key"),
    "a key that is not there": ({"client-certificate": "me.crt", "client-key": "no"}, "client-key cannot be read"),
    "no base64": ({"client-certificate-data": "%%%"}, "client-certificate-data is not base64"),
}


@pytest.mark.parametrize(("user", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_what_kubectl_refuses_is_refused_by_name(folder: Path, user: dict[str, Any], text: str) -> None:
    (folder / "empty").write_text("\n")
    Authority(folder).issue("me", "me")
    with pytest.raises(UsageError) as raised:
        configured(folder, user)
    assert text in str(raised.value)
    assert str(folder / "kubeconfig") in str(raised.value)
    assert raised.value.hint


@pytest.mark.parametrize(
    "user",
    [
        {"token": "s3cret"},
        {"username": "me", "password": "s3cret"},
        {"auth-provider": {"name": "oidc", "config": {**OIDC, "client-secret": "s3cret"}}},
        plugin("./plugin", env=[{"name": "A", "value": "s3cret"}]),
    ],
)
async def test_no_secret_is_shown_by_what_holds_it(folder: Path, user: dict[str, Any]) -> None:
    found = configured(folder, user)
    shown = [repr(part) for part in (found, found.origin, found.source, await found.source.get())]
    assert not [text for text in shown if "s3cret" in text]


def test_a_user_that_the_context_names_must_exist(folder: Path) -> None:
    path = Path(kubeconfig(folder, {}))
    path.write_text(path.read_text().replace("user: me", "user: you"))
    with pytest.raises(UsageError, match="there is no user 'you'"):
        load_configuration(str(path), None)


async def test_a_token_file_is_read_each_minute_and_the_last_token_counts_while_it_is_away(tmp_path: Path) -> None:
    path, clock = tmp_path / "token", [0.0]
    path.write_text("one\n")
    tokens = TokenFile(str(path), now=lambda: clock[0])
    one = await tokens.get()
    path.write_text("two")
    assert await tokens.get() is one
    clock[0] += TOKEN_FILE_SECONDS
    assert (await tokens.get()).authorization == "Bearer two"
    path.unlink()
    tokens.reject(one)
    assert (await tokens.get()).authorization == "Bearer two"
    path.write_text("three")
    assert (await tokens.get()).authorization == "Bearer three"


async def test_without_any_token_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match=r"nowhere cannot be read") as raised:
        await TokenFile(str(tmp_path / "nowhere")).get()
    assert raised.value.status == 401


@pytest.mark.parametrize(
    ("server", "sent"),
    [
        ("http://api.example.com:8080", ""),  # as kubectl, which sends no credentials in the clear
        ("http://127.0.0.1:8001", "Bearer given"),
        ("http://localhost:8001", "Bearer given"),
        ("http://[::1]:8001", "Bearer given"),
    ],
)
async def test_without_tls_credentials_stay_on_this_machine(tmp_path: Path, server: str, sent: str) -> None:
    found = configured(tmp_path, {"token": "given"}, server=server)
    assert (await found.source.get()).authorization == sent


def test_the_command_line_loads_nothing_of_it() -> None:
    code = "import sys; import kubecdc.cli.main; print([m for m in sys.modules if m.startswith('kubecdc.cluster')])"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == "[]"
