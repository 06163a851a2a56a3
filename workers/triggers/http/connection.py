"""The client: requests as they are written, and connections on which nothing is left of an answer before."""

from __future__ import annotations

import select
from functools import cache, partial
from importlib import metadata
from typing import Any

import aiohttp

from kubecdc.names import Names
from kubecdc.workers.addresses import Addresses
from kubecdc.workers.connector import Connector
from kubecdc.workers.triggers.http.reception import HEAD_BYTES, Answers

IDLE_SECONDS = 4.0  # below the 5 s after which common servers (Node.js, uvicorn) close an idle connection
MOST_HEADERS = 4096


def open_session(concurrency: int, names: Names, addresses: Addresses) -> aiohttp.ClientSession:
    """A session for that many requests at a time. It must be made on the loop that uses it."""
    return aiohttp.ClientSession(
        connector=_Connector(addresses, names=names, limit=concurrency, keepalive_timeout=IDLE_SECONDS),
        request_class=_Request,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
        max_line_size=HEAD_BYTES,
        max_field_size=HEAD_BYTES,
        max_headers=MOST_HEADERS,
    )


class _Request(aiohttp.ClientRequest):
    def update_expect_continue(self, expect: bool = False) -> None:
        """Nothing. ``Expect`` is a header like any other, and the body is sent at once, as in Argo Events.

        Many servers never say 100 (RFC 9110, section 10.1.1, has no client depend on it).
        """


class _Connector(Connector):
    """Uses a kept connection only if nothing came on it since its last answer.

    The library would take that for the answer to the next request.
    """

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self._factory = partial(Answers, loop=self._loop)  # type: ignore[assignment]  # the library has no option for it

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        while True:
            connection = await super().connect(*args, **kwargs)
            protocol = connection.protocol
            if protocol is None or not (protocol.should_close or _readable(connection.transport)):
                return connection
            connection.close()


def _readable(transport: Any) -> bool:
    """Whether bytes have come, or the end of the connection, that the event loop has not read yet."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@cache
def _user_agent() -> str:
    try:
        return f"kubecdc/{metadata.version('kubecdc')}"
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return "kubecdc"
