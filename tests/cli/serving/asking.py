"""Asks a server of this process, in a thread."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from kubecdc.cli.serving.address import Address
from kubecdc.cli.serving.server import Page, Server, Tls


@contextmanager
def serving(pages: Mapping[str, Page], host: str = "127.0.0.1", tls: Tls | None = None) -> Iterator[int]:
    """A server, for as long as the block lasts. Its port."""
    server = Server(Address(host, 0), pages, tls)
    server.start(poll=0.05)
    try:
        yield server.port
    finally:
        server.stop()


def ask(
    port: int, path: str, *, host: str = "127.0.0.1", method: str = "GET", tls: ssl.SSLContext | None = None
) -> tuple[int, str]:
    """Status and text of the answer. Raises OSError."""
    if tls:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, timeout=60, context=tls)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


async def until_answered(port: int, path: str, status: int, *, alive: Callable[[], None] = lambda: None) -> str:
    """Ask until the status is that one. The text of the answer."""
    last: object = None
    try:
        async with asyncio.timeout(60):
            while True:
                alive()
                try:
                    last = found, text = await asyncio.to_thread(ask, port, path)
                except ConnectionError as e:
                    last = e
                else:
                    if found == status:
                        return text
                await asyncio.sleep(0.05)
    except TimeoutError as e:
        raise AssertionError(f"{path} was not {status}: {last}") from e
