"""An HTTPS server that says who asks."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from kubecdc.cluster.connection import Cluster
from tests.apiserver.certificates import Authority
from tests.served import served


class HttpsServer:
    """Its certificate is of the authority in ``folder``. `accepts` names the user whose certificate or token it takes,
    "" for everybody's."""

    def __init__(self, folder: Path, *, old: bool = False) -> None:
        self.folder = folder
        self.accepts = ""
        self.url = ""
        self.asked = 0
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._old = old
        self.new_authority()

    def new_authority(self) -> None:
        """Make an authority, and a certificate of it for the server; what the clients trust is replaced as well."""
        (self.folder / "ca.key").unlink(missing_ok=True)
        Authority(self.folder, old=self._old).issue("server", "kube-apiserver")
        self._context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        self._context.load_verify_locations(self.folder / "ca.crt")

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        assert request.transport is not None
        subject = (request.transport.get_extra_info("peercert") or {}).get("subject", ())
        certificate = {key: value for part in subject for key, value in part}.get("commonName", "")
        user = certificate or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.accepts and user != self.accepts:
            return web.json_response({"message": "Unauthorized"}, status=401)
        response = web.json_response({"user": user, "headers": [list(header) for header in request.headers.items()]})
        response.force_close()  # and say so: a client that takes it for open may send another request into its end
        return response

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[HttpsServer]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        async with served(app, self._context, access_log=None, keepalive_timeout=0) as self.url:
            yield self


async def whoami(cluster: Cluster) -> str:
    """The user that the server sees."""
    return str((await _asked(cluster))["user"])


async def headers(cluster: Cluster) -> list[tuple[str, str]]:
    """The headers that the server sees."""
    return [(name, value) for name, value in (await _asked(cluster))["headers"]]


async def _asked(cluster: Cluster) -> dict[str, Any]:
    return msgspec.json.decode(await cluster.get("/whoami"), type=dict[str, Any])
