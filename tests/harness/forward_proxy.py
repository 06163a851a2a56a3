"""A forward proxy that speaks HTTP and SOCKS 5 on one port, for tests of how a server is reached.

It lives in the event loop of the test.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from base64 import b64encode
from contextlib import suppress

CHUNK = 65536


class Refused(Exception):
    """The client may not use the proxy. ``answer`` is the last that it gets."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


class ForwardProxy:
    """Passes everything on to ``server_port`` on 127.0.0.1, whichever server the client asks for.

    ``asked`` has what each connection asked for, as ``HTTP host:port`` or ``SOCKS host:port``. With ``account``
    (``user:password``), only clients that give it are let through. With ``tls``, clients reach it by HTTPS.
    """

    def __init__(self, server_port: int, *, account: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.asked: list[str] = []
        self._server_port = server_port
        self._account = account
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ForwardProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                first = await reader.readexactly(1)
                head = await (self._socks(reader, writer) if first == b"\x05" else self._http(first, reader, writer))
                await self._pass(head, reader, writer)
        except Refused as e:
            writer.write(e.answer)
            with suppress(OSError):
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _pass(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        inner_writer.write(head)
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            inner_writer.transport.abort()

    async def _http(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Answer a CONNECT; of any other request, return the head that is passed on."""
        head = first + await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.partition(b"\r\n")[0].decode().split(" ")
        host, _, path = target.removeprefix("http://").partition("/")
        self.asked.append(f"HTTP {host}")
        expected = f"Basic {b64encode(self._account.encode()).decode()}".encode()
        if self._account and expected not in head:
            raise Refused(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        if method != "CONNECT":
            return head.replace(target.encode(), f"/{path}".encode(), 1)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        return b""

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The dialogue of RFC 1928, and that of RFC 1929 for an account."""
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        method = 2 if self._account else 0
        if method not in methods:
            raise Refused(b"\x05\xff")
        writer.write(bytes([5, method]))
        if self._account:
            _, length = await reader.readexactly(2)
            user = await reader.readexactly(length)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            if f"{user.decode()}:{password.decode()}" != self._account:
                raise Refused(b"\x01\x01")
            writer.write(b"\x01\x00")
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = ".".join(str(byte) for byte in await reader.readexactly(4))
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        self.asked.append(f"SOCKS {host}:{port}")
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        return b""


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.close()
