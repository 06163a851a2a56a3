"""The connection to a Kubernetes API server.

Where it is and who we are comes from the official client's configuration, as kubectl would find it; the bytes travel
over aiohttp, because the official client decodes every object twice.
"""

from __future__ import annotations

import asyncio
import io
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import yaml

from storage.errors import Unavailable, UsageError
from watcher.change import Status, decode_status

if TYPE_CHECKING:
    from kubernetes.client import Configuration

CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 60.0
READ_BUFFER_BYTES = 128 << 10  # what is there is decoded in one go, and no commit can be made meanwhile


class ApiError(Unavailable):
    """The API server could not be reached (status 0) or said no. ``retry_after`` in seconds, 0 if it gave none."""

    def __init__(self, message: str, *, status: int = 0, hint: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after


class Expired(ApiError):
    """410: the API server has no history, or no page, from where we stand."""


def load_configuration(kubeconfig: str | None, context: str | None) -> Configuration:
    """Find the cluster as kubectl does: flag, $KUBECONFIG, ~/.kube/config, in-cluster. Raises UsageError."""
    # Imported here: it takes a fifth of a second, which `kubecdc --help` must not.
    from kubernetes import config
    from kubernetes.client import Configuration

    found = Configuration()
    files = kubeconfig or os.environ.get("KUBECONFIG") or ""
    default = Path("~/.kube/config").expanduser()
    try:
        if files or default.exists():
            if kubeconfig and not Path(kubeconfig).is_file():
                raise UsageError(
                    f"kubeconfig {kubeconfig}: no such file", hint="name an existing file with --kubeconfig"
                )
            config.load_kube_config(
                files or str(default), context=context, client_configuration=found, persist_config=False
            )
        elif context:
            raise UsageError(f"context {context!r}: there is no kubeconfig to find it in", hint="give --kubeconfig")
        else:
            config.load_incluster_config(client_configuration=found)
    except config.ConfigException as e:
        if not files and not default.exists():
            raise UsageError(
                "no Kubernetes cluster is configured: no --kubeconfig, $KUBECONFIG or ~/.kube/config, and not in a pod",
                hint="give --kubeconfig FILE",
            ) from e
        where = files or str(default)
        raise UsageError(f"kubeconfig {where}: {e}", hint="see `kubectl config get-contexts`") from e
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, AttributeError, KeyError, ValueError) as e:
        # The official client does not check the shape of the file.
        where = files or str(default)
        raise UsageError(f"kubeconfig {where} cannot be read: {e}", hint="check it with `kubectl config view`") from e
    return found


def _tls(configuration: Configuration) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=configuration.ssl_ca_cert or None, cadata=configuration.ca_cert_data or None
        )
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    except (OSError, ssl.SSLError) as e:
        raise UsageError(f"the kubeconfig's certificates cannot be used: {e}", hint="renew them") from e
    return context


class Cluster:
    """One API server and our credentials there. Use as an async context manager."""

    def __init__(self, kubeconfig: str | None = None, context: str | None = None) -> None:
        self._source = (kubeconfig, context)
        self._configuration = load_configuration(kubeconfig, context)
        self._tls = _tls(self._configuration)
        self._session: aiohttp.ClientSession | None = None

    @property
    def host(self) -> str:
        """The server's URL."""
        return str(self._configuration.host)

    async def __aenter__(self) -> Cluster:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "kubecdc"},
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BUFFER_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def refresh(self, *, seconds: float = REQUEST_SECONDS) -> None:
        """Read the credentials again, whatever kind they are: token files, exec plugins, rotated certificates.

        Raises ApiError.
        """
        try:
            async with asyncio.timeout(seconds):
                self._configuration = await asyncio.to_thread(load_configuration, *self._source)
            self._tls = _tls(self._configuration)
        except TimeoutError as e:
            raise ApiError(f"the credentials were not to be had in {seconds:g} s", status=401) from e
        except UsageError as e:
            raise ApiError(str(e), status=401, hint=e.hint) from e

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, seconds: float = REQUEST_SECONDS
    ) -> bytes:
        """The body of a GET, which may take so many seconds. Raises ApiError."""
        return await self._call("GET", path, query, None, seconds)

    async def post(self, path: str, document: object, *, seconds: float = REQUEST_SECONDS) -> bytes:
        """Create an object. Raises ApiError."""
        return await self._call("POST", path, None, msgspec.json.encode(document), seconds)

    async def put(self, path: str, document: object, *, seconds: float = REQUEST_SECONDS) -> bytes:
        """Replace an object. Raises ApiError."""
        return await self._call("PUT", path, None, msgspec.json.encode(document), seconds)

    async def _call(
        self, method: str, path: str, query: Mapping[str, str] | None, body: bytes | None, seconds: float
    ) -> bytes:
        try:
            async with asyncio.timeout(seconds), self._request(method, path, query, body) as response:
                return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as e:
            raise self._unreachable(e) from e

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of a GET as it comes. Raises ApiError until it is open; reading may raise what aiohttp raises."""
        try:
            # Headers come at once, even when there is nothing to tell.
            async with asyncio.timeout(REQUEST_SECONDS) as deadline:
                async with self._request("GET", path, query) as response:
                    deadline.reschedule(None)
                    yield response.content
        except (aiohttp.ClientError, OSError, TimeoutError) as e:
            raise self._unreachable(e) from e

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, query: Mapping[str, str] | None, body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "use `async with`"
        headers = await asyncio.to_thread(self._authorization)
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with self._session.request(
            method,
            self.host.rstrip("/") + path,
            params=query,
            data=None if body is None else io.BytesIO(body),  # sent piece by piece
            headers=headers,
            ssl=self._tls,
            proxy=self._configuration.proxy,
            server_hostname=self._configuration.tls_server_name or None,
            allow_redirects=False,
        ) as response:
            if response.status >= 300:
                raise _refusal(response, path, decode_status(await response.read()))
            yield response

    def _authorization(self) -> dict[str, str]:
        # May run an exec plugin or read a token file: the client refreshes what has expired.
        from kubernetes.config import ConfigException

        try:
            settings: dict[str, Any] = self._configuration.auth_settings()
        except (ConfigException, OSError) as e:
            raise ApiError(f"the credentials cannot be read: {e}", status=401, hint="check the token file") from e
        token = settings.get("BearerToken", {}).get("value")
        return {"Authorization": token} if token else {}

    def _unreachable(self, error: Exception) -> ApiError:
        detail = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return ApiError(
            f"the API server at {self.host} cannot be reached: {detail}",
            hint="check that the cluster is up and the kubeconfig's server address is right",
        )


def _refusal(response: aiohttp.ClientResponse, path: str, status: Status) -> ApiError:
    code, text = response.status, status.message or response.reason or "no reason given"
    try:
        retry_after = float(response.headers.get("Retry-After", "0"))
    except ValueError:
        retry_after = 0.0
    return refusal(code, text, path, retry_after)


def refusal(code: int, text: str, path: str, retry_after: float = 0.0) -> ApiError:
    """The error for a status code, from HTTP or from inside a watch stream, with the way out."""
    if code == 410:
        return Expired(text, status=code)
    if code == 401:
        return ApiError(
            "the API server does not accept the credentials (401)",
            status=code,
            hint="the token or certificate has expired or is wrong: renew it in the kubeconfig, it is read again",
        )
    if code == 403:
        hint = "grant this user get, list and watch on it by RBAC"
        if "at the cluster scope" in text:
            hint += ", in all namespaces (ClusterRole); or name in the entry the `namespaces` that it may read"
        return ApiError(f"forbidden (403): {text}", status=code, hint=hint)
    if code == 404:
        return ApiError(
            f"the API server does not know {path} (404)",
            status=code,
            hint="install the CRD, or correct group, version and resource; it is asked again until it is there",
        )
    return ApiError(f"the API server answered {code}: {text}", status=code, retry_after=retry_after)
