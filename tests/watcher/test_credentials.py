"""Credentials from every kind of kubeconfig, and how much of the official client is loaded for them."""

from __future__ import annotations

import base64
import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from kubecdc.cluster import credentials
from kubecdc.cluster.credentials import authorization, load_configuration

CERTIFICATE = base64.b64encode(b"a certificate").decode()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Each test loads the client for itself."""
    credentials._official_client.cache_clear()
    yield
    credentials._official_client.cache_clear()


def kubeconfig(folder: Path, user: dict[str, Any], **cluster: Any) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": "https://api.example.com:6443", **cluster}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
        "users": [{"name": "me", "user": user}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def exec_plugin(folder: Path) -> dict[str, Any]:
    status = {"token": "from-exec", "expirationTimestamp": "2099-01-01T00:00:00Z"}
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    plugin = folder / "plugin"
    plugin.write_text(f"#!/bin/sh\ncat <<'EOF'\n{json.dumps(answer)}\nEOF\n")
    plugin.chmod(0o755)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    return {"exec": command}


def jwt(expires: float, name: str) -> str:
    """A JSON Web Token without a signature that counts."""
    parts = [{"alg": "none"}, {"exp": int(expires), "name": name}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def token_file(folder: Path) -> dict[str, Any]:
    (folder / "token").write_text("from-file")
    return {"tokenFile": str(folder / "token")}


USERS: dict[str, Any] = {
    "token": (lambda folder: {"token": "given"}, "Bearer given"),
    "token file": (token_file, "Bearer from-file"),
    "exec plugin": (exec_plugin, "Bearer from-exec"),
    "basic": (lambda folder: {"username": "me", "password": "secret"}, None),
    "gcp": (
        lambda folder: {
            "auth-provider": {"name": "gcp", "config": {"access-token": "google", "expiry": "2099-01-01T00:00:00Z"}}
        },
        "Bearer google",
    ),
    "oidc": (
        lambda folder: {"auth-provider": {"name": "oidc", "config": {"id-token": jwt(4e9, "me")}}},
        f"Bearer {jwt(4e9, 'me')}",
    ),
    "certificate": (
        lambda folder: {"client-certificate-data": CERTIFICATE, "client-key-data": CERTIFICATE},
        None,
    ),
}


@pytest.mark.parametrize("whole", [False, True], ids=["the modules needed", "the whole client"])
@pytest.mark.parametrize(("user", "expected"), USERS.values(), ids=USERS.keys())
def test_every_kind_of_user_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: Any, expected: str | None, whole: bool
) -> None:
    load = credentials._whole_client if whole else credentials._partial_client
    if not whole:  # as in a new process
        for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
            monkeypatch.delitem(sys.modules, name)
    client = load()
    monkeypatch.setattr(credentials, "_official_client", lambda: client)
    path = kubeconfig(tmp_path, user(tmp_path), **{"certificate-authority-data": CERTIFICATE, "tls-server-name": "api"})
    found = load_configuration(path, None)
    assert (found.host, found.tls_server_name) == ("https://api.example.com:6443", "api")
    assert Path(found.ssl_ca_cert).read_bytes() == b"a certificate"
    if "client-key-data" in user(tmp_path):
        assert Path(found.cert_file).read_bytes() == Path(found.key_file).read_bytes() == b"a certificate"
    if expected is not None:
        assert authorization(found) == {"Authorization": expected}


def run(code: str, *arguments: str) -> str:
    """Run it in a process of its own."""
    environment = {**os.environ, "OAUTHLIB_INSECURE_TRANSPORT": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_official_client_can_be_imported_whole_afterwards(tmp_path: Path) -> None:
    code = """
import sys
from kubecdc.cluster.credentials import authorization, load_configuration
found = load_configuration(sys.argv[1], None)
assert authorization(found) == {"Authorization": "Bearer given"}
assert not [name for name in sys.modules if name.startswith("kubernetes")], "nothing stays behind"
import kubernetes
assert kubernetes.__version__ and kubernetes.__file__ and kubernetes.client.__file__
from kubernetes import client, config, watch
config.load_kube_config(sys.argv[1])
api = client.CoreV1Api()
assert api.api_client.configuration.host == "https://api.example.com:6443"
assert client.V1Pod(metadata=client.V1ObjectMeta(name="a")).metadata.name == "a"
assert client.ApiClient is type(api.api_client) and watch.Watch
assert authorization(found) == authorization(load_configuration(sys.argv[1], None))
print("fine")
"""
    assert run(code, kubeconfig(tmp_path, {"token": "given"})) == "fine"


def test_a_client_that_is_imported_already_is_used_and_left_alone(tmp_path: Path) -> None:
    code = """
import sys
import kubernetes.config
before = sys.modules["kubernetes.config.kube_config"]
from kubecdc.cluster import credentials
found = credentials.load_configuration(sys.argv[1], None)
assert isinstance(found, kubernetes.client.Configuration)
assert sys.modules["kubernetes.config.kube_config"] is before
print("fine")
"""
    assert run(code, kubeconfig(tmp_path, {"token": "given"})) == "fine"


def test_a_client_with_another_layout_is_imported_whole(tmp_path: Path) -> None:
    code = """
import importlib, sys
from kubecdc.cluster import credentials
real = importlib.import_module
def refusing(name, package=None):
    if name == "kubernetes.config.incluster_config":
        raise ModuleNotFoundError(name)
    return real(name, package)
importlib.import_module = refusing
found = credentials.load_configuration(sys.argv[1], None)
assert credentials.authorization(found) == {"Authorization": "Bearer given"}
import kubernetes
assert isinstance(found, kubernetes.client.Configuration)
print("fine")
"""
    assert run(code, kubeconfig(tmp_path, {"token": "given"})) == "fine"


class Issuer(BaseHTTPRequestHandler):
    """An OpenID Connect issuer that exchanges any refresh token."""

    token = ""

    def do_GET(self) -> None:
        self._answer({"token_endpoint": f"http://127.0.0.1:{cast(HTTPServer, self.server).server_port}/token"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"id_token": self.token, "refresh_token": "next", "access_token": "a", "token_type": "Bearer"})

    def _answer(self, document: dict[str, str]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the library's)
        pass


def test_an_expired_token_of_an_issuer_is_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Issuer, "token", jwt(time.time() + 3600, "fresh"))
    with HTTPServer(("127.0.0.1", 0), Issuer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        provider = {
            "name": "oidc",
            "config": {
                "idp-issuer-url": f"http://127.0.0.1:{server.server_port}",
                "client-id": "kubecdc",
                "client-secret": "secret",
                "id-token": jwt(time.time() - 3600, "old"),
                "refresh-token": "given",
            },
        }
        code = """
import sys
from kubecdc.cluster.credentials import authorization, load_configuration
print(authorization(load_configuration(sys.argv[1], None))["Authorization"])
"""
        try:
            answer = run(code, kubeconfig(tmp_path, {"auth-provider": provider}))
        finally:
            server.shutdown()
            thread.join()
    assert answer == f"Bearer {Issuer.token}"


def test_the_command_line_loads_nothing_of_it() -> None:
    code = "import sys; import kubecdc.cli.main; print([m for m in sys.modules if m.startswith('kubernetes')])"
    assert run(code) == "[]"
    assert importlib.util.find_spec("kubernetes") is not None
