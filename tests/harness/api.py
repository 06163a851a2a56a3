"""A plain client of one API server: JSON in, JSON out, no retries, nothing shared with the code under test."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import yaml

MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True)
class Resource:
    """A kind to write."""

    group: str
    version: str
    plural: str
    kind: str

    def path(self, namespace: str = "", name: str = "") -> str:
        """The collection's path, or an object's."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        space = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{space}/{self.plural}" + (f"/{name}" if name else "")


WORKFLOWS = Resource("argoproj.io", "v1alpha1", "workflows", "Workflow")


class Api:
    """The API server that a kubeconfig's current context names."""

    def __init__(self, kubeconfig: Path, *, timeout: float = 30.0) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config, "context", config["current-context"])
        cluster = _named(config, "cluster", context["cluster"])
        user = _named(config, "user", context["user"])
        self.server: str = cluster["server"].rstrip("/")
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        tls = _tls(cluster, user) if self.server.startswith("https:") else None
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(ssl=tls or True),
            timeout=aiohttp.ClientTimeout(total=timeout),
        )

    async def request(self, method: str, path: str, body: object = None, content_type: str = "") -> tuple[int, Any]:
        """One request. Raises aiohttp.ClientError, OSError or TimeoutError when there was no whole answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type or "application/json"} if data is not None else {}
        async with self._session.request(method, self.server + path, data=data, headers=headers) as answer:
            text = await answer.read()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text.decode("utf-8", "replace")

    async def watch(self, path: str, version: str) -> AsyncIterator[dict[str, Any]]:
        """The changes of a collection since that version, until the server ends the stream."""
        given = {"watch": "true", "resourceVersion": version}
        forever = aiohttp.ClientTimeout(total=None)
        async with self._session.get(self.server + path, params=given, timeout=forever) as answer:
            answer.raise_for_status()
            async for line in _lines(answer.content):
                yield json.loads(line)

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()


def _named(config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry[kind] for entry in config[f"{kind}s"] if entry["name"] == name)
    return found


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Of any length."""
    begun = b""
    async for chunk in content.iter_any():
        *whole, begun = (begun + chunk).split(b"\n")
        for line in whole:
            yield line


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = _pem(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _pem(user, "client-certificate"), _pem(user, "client-key")
    if certificate and key:
        with tempfile.NamedTemporaryFile("w") as pair:  # the ssl module reads files only
            pair.write(certificate + "\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


def _pem(entry: dict[str, Any], name: str) -> str | None:
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"]).decode()
    return Path(entry[name]).read_text() if name in entry else None
