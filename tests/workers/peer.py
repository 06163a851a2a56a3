"""A real HTTP server for the tests, on a free port of 127.0.0.1."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.served import served


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """What it got, and how it answers."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)  # all that were ever used


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    peer = Peer()

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peer.connections.add(request.transport.get_extra_info("peername"))
        headers = {name.lower(): value for name, value in request.headers.items()}
        peer.received.append(Received(request.method, request.raw_path, headers, await request.read()))
        return await answer(request)

    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{tail:.*}", handle)
    async with served(app, tls, access_log=None, shutdown_timeout=0.1, handler_cancellation=True) as peer.url:
        yield peer


def saying(status: int, body: str | bytes = "", **headers: str) -> Answer:
    """Always the same answer; underscores in header names stand for hyphens."""

    async def answer(request: web.Request) -> web.Response:
        raw = body.encode() if isinstance(body, str) else body
        return web.Response(status=status, body=raw, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer
