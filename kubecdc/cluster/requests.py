"""One HTTP request to the API server, and the errors it may end with."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from kubecdc.cluster.credentials import authorization
from kubecdc.cluster.errors import ApiError, refusal
from kubecdc.cluster.objects import Status, decode_status

if TYPE_CHECKING:
    from kubernetes.client import Configuration

NO_ANSWER = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True)
class Request:
    """What is asked. ``body`` is JSON."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: bytes | None = None


@asynccontextmanager
async def send(
    session: aiohttp.ClientSession, configuration: Configuration, tls: ssl.SSLContext, request: Request
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response, its body not read yet. Raises ApiError if the server refused, and what `NO_ANSWER` lists."""
    headers = await asyncio.to_thread(authorization, configuration)
    if request.body is not None:
        headers["Content-Type"] = "application/json"
    async with session.request(
        request.method,
        str(configuration.host).rstrip("/") + request.path,
        params=request.query,
        data=None if request.body is None else io.BytesIO(request.body),  # sent piece by piece
        headers=headers,
        ssl=tls,
        proxy=configuration.proxy,
        server_hostname=configuration.tls_server_name or None,
        allow_redirects=False,
    ) as response:
        if response.status >= 300:
            raise _refusal(response, request.path, decode_status(await response.read()))
        yield response


def unreachable(host: str, error: Exception) -> ApiError:
    """The error for a server that gave no answer."""
    detail = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return ApiError(
        f"the API server at {host} cannot be reached: {detail}",
        hint="check that the cluster is up and the kubeconfig's server address is right",
    )


def _refusal(response: aiohttp.ClientResponse, path: str, status: Status) -> ApiError:
    text = status.message or response.reason or "no reason given"
    try:
        retry_after = float(response.headers.get("Retry-After", status.retry_after))
    except ValueError:
        retry_after = status.retry_after  # a date is not supported
    return refusal(response.status, text, path, retry_after)
