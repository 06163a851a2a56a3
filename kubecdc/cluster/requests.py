"""One HTTP request to the API server, and the errors it may end with."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from kubecdc.cluster.errors import ApiError, TooLarge, refusal
from kubecdc.cluster.objects import Status, decode_status
from kubecdc.cluster.open_files import is_out_of_files, out_of_files
from kubecdc.cluster.proxy import masked
from kubecdc.cluster.rotation import Settings
from kubecdc.cluster.server import Server
from kubecdc.concurrency import INLINE_BYTES

NO_ANSWER = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True)
class Request:
    """What is asked. ``path`` is escaped. ``body`` is JSON, of any type. ``buffer``: bytes of the answer that are read
    ahead."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: bytes | None = None
    buffer: int | None = None
    content_type: str = "application/json"


@asynccontextmanager
async def send(
    session: aiohttp.ClientSession, settings: Settings, request: Request
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response, its body not read yet. Raises ApiError if the server refused, and what `NO_ANSWER` lists."""
    server, headers = settings.configuration.server, settings.headers
    if request.body is not None:
        headers.append(("Content-Type", request.content_type))
    async with session.request(
        request.method,
        server.at(request.path),
        params=request.query,
        data=_piecewise(request.body),
        headers=headers,
        ssl=settings.tls,
        proxy=server.http_proxy,
        server_hostname=settings.configuration.tls_server_name or None,
        allow_redirects=False,
        read_bufsize=request.buffer,
    ) as response:
        if response.status >= 300:
            raise _refusal(response, request.path, decode_status(await response.read()))
        yield response


def _piecewise(body: bytes | None) -> bytes | io.BytesIO | None:
    """A body that is written in pieces if it is large, so that other tasks go on meanwhile."""
    return body if body is None or len(body) <= INLINE_BYTES else io.BytesIO(body)


async def read_at_most(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of a response, if it has at most so many bytes. Raises TooLarge as soon as it has more."""
    pieces: list[bytes] = []
    size = response.content_length or 0
    if size <= most:
        size = 0
        async for piece in response.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size > most:
                break
    if size > most:
        raise TooLarge(f"the answer to {response.url.path} has more than {most} bytes", status=response.status)
    return b"".join(pieces)


def unreachable(server: Server, error: Exception, slow_name: str = "") -> ApiError:
    """The error for a server that gave no answer, or a proxy on the way that would not let us through.

    ``slow_name``: what is being looked up yet, if a name is.
    """
    if is_out_of_files(error):
        return out_of_files()
    if isinstance(error, aiohttp.ClientHttpProxyError):
        detail = f"the proxy answered {error.status} {error.message}"
    elif isinstance(error, TimeoutError):
        detail = f"the name {slow_name} could not be looked up in time" if slow_name else "no answer in time"
    elif isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        detail = masked(str(error.os_error))  # the rest is the address again, and an object's place in memory
    else:
        detail = masked(str(error)) or type(error).__name__
    way = f" through the proxy {server.proxy}" if server.proxy else ""
    address = "proxy of the kubeconfig or the environment" if server.proxy else "kubeconfig's server address"
    hint = f"check that the cluster is up and the {address} is right"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        hint = "check the kubeconfig's certificate-authority, server and tls-server-name; they are read again"
    return ApiError(f"the API server at {server} cannot be reached{way}: {detail}", hint=hint)


def _refusal(response: aiohttp.ClientResponse, path: str, status: Status) -> ApiError:
    text = status.message or response.reason or "no reason given"
    try:
        retry_after = float(response.headers.get("Retry-After", status.retry_after))
    except ValueError:
        retry_after = status.retry_after  # a date is not supported
    error = refusal(response.status, text, path, retry_after)
    error.reason, error.text = status.reason, text
    return error
