"""Sources in git that are read as an app of GitHub."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from kubecdc.manifest.mounts import Mounts
from kubecdc.workers.objects.sources import github
from kubecdc.workers.outcome import Retry
from kubecdc.workers.triggers.k8s.manifest import K8s
from tests.served import served
from tests.workers.k8s.rig import Bench

APP = {"privateKey": {"name": "app", "key": "pem"}, "appID": 12345, "installationID": 67890}
PLACE = {"url": "https://github.com/team/flows.git", "filePath": "hello.yaml", "githubApp": APP}
TOKEN = "ghs_of-the-installation"
WHERE = "GitHub App 12345, installation 67890"


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@pytest.fixture
def mounts(tmp_path: Path, key: RSAPrivateKey) -> Mounts:
    folder = tmp_path / "secrets" / "app"
    folder.mkdir(parents=True)
    (folder / "pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return Mounts(tmp_path / "secrets", tmp_path / "configs")


@asynccontextmanager
async def answering(
    monkeypatch: pytest.MonkeyPatch, status: int = 201, body: object = None
) -> AsyncIterator[list[web.Request]]:
    """GitHub, which answers every request in the same way; and the requests."""
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({"token": TOKEN} if body is None else body, status=status)

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    async with served(app) as url:
        monkeypatch.setattr(github, "API", url)
        yield seen


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git that writes the header that it is given into this file, and repeats it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "git"
    script.write_text(f'#!/bin/sh\necho "$GIT_CONFIG_KEY_0=$GIT_CONFIG_VALUE_0" | tee {tmp_path}/told >&2\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path / "told"


async def test_git_gets_a_token_that_the_app_asked_for(
    it: Bench, mounts: Mounts, key: RSAPrivateKey, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering(monkeypatch) as seen:
        outcome = await it.run({"source": {"git": PLACE}}, mounts=mounts)
    [request] = seen
    assert request.path == "/app/installations/67890/access_tokens"
    head, claims, signature = request.headers["Authorization"].removeprefix("Bearer ").split(".")
    key.public_key().verify(decoded(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
    assert json.loads(decoded(head))["alg"] == "RS256"
    said = json.loads(decoded(claims))
    assert said["iss"] == "12345"
    assert said["iat"] < time.time() < said["exp"]
    assert said["exp"] - said["iat"] <= 600, "GitHub takes no longer ones"
    login = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    header = f"http.https://github.com/team/flows.git.extraHeader=Authorization: Basic {login}\n"
    assert told.read_text() == header
    assert isinstance(outcome, Retry)
    assert login not in outcome.reason
    assert TOKEN not in outcome.reason


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, {}, "401 Unauthorized"),
        (201, {"token": 1}, "the answer has no token"),
        (201, [], "the answer has no token"),
    ],
)
async def test_an_app_that_gets_no_token_is_retried(
    it: Bench, mounts: Mounts, status: int, body: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering(monkeypatch, status, body):
        assert await it.run({"source": {"git": PLACE}}, mounts=mounts) == Retry(f"{WHERE}: {reason}")


async def test_a_key_that_is_none_is_told_without_it(it: Bench, mounts: Mounts) -> None:
    (mounts.secrets / "app" / "pem").write_text("no key at all")
    outcome = await it.run({"source": {"git": PLACE}}, mounts=mounts)
    assert outcome == Retry(f"{WHERE}: key `pem` of Secret `app` is not a private key in PEM")


async def test_an_api_that_is_away_is_retried(it: Bench, mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github, "API", "http://127.0.0.1:9")
    outcome = await it.run({"source": {"git": PLACE}}, mounts=mounts)
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(f"{WHERE}: ")


@pytest.mark.parametrize(
    "more",
    [
        {"url": "https://example.com/team/flows.git"},
        {"url": "https://github.com.example.com/x.git"},
        {"url": "http://github.com/team/flows.git"},
        {"creds": {"username": {"name": "a", "key": "u"}, "password": {"name": "a", "key": "p"}}},
        {"githubApp": {**APP, "appID": "12345"}},
    ],
)
def test_the_token_of_an_app_is_for_github_alone(more: dict[str, object]) -> None:
    K8s.model_validate({"source": {"git": PLACE}})
    with pytest.raises(ValidationError):
        K8s.model_validate({"source": {"git": {**PLACE, **more}}})
