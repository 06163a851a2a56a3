"""The API server's address, and the way there."""

from __future__ import annotations

from dataclasses import dataclass

from yarl import URL

from kubecdc.cluster.credentials import basic
from kubecdc.cluster.proxy import Proxy, choose, masked
from kubecdc.errors import UsageError


@dataclass(frozen=True)
class Server:
    """Where the API server is. ``authorization`` is from a user and password in the address, "" without them."""

    url: URL
    proxy: Proxy | None
    authorization: str = ""

    @property
    def http_proxy(self) -> URL | None:
        """The proxy, if it speaks HTTP."""
        return self.proxy.url if self.proxy and not self.proxy.socks else None

    @property
    def socks(self) -> URL | None:
        """The proxy, if it speaks SOCKS."""
        return self.proxy.url if self.proxy and self.proxy.socks else None

    @property
    def uses_tls(self) -> bool:
        """Whether TLS is spoken with the API server or its proxy."""
        return "https" in {self.url.scheme, self.http_proxy and self.http_proxy.scheme}

    def at(self, path: str) -> URL:
        """The URL of an escaped path of the API. A path in the server's address is in front of it."""
        return URL(str(self.url).rstrip("/") + path)

    def __str__(self) -> str:
        return str(self.url)


def parse(address: str, proxy_url: str) -> Server:
    """The kubeconfig's ``server`` and ``proxy-url``, read as client-go does it (rest.DefaultServerURL).

    Raises UsageError.
    """
    full = address if "://" in address else f"http://{address}"
    hint = "write it as https://HOST:PORT"
    try:
        url = URL(full).with_query(None).with_fragment(None)
    except ValueError:  # its text may contain a password
        raise UsageError(f"the kubeconfig's server {masked(full)!r} is not a URL", hint=hint) from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise UsageError(f"the kubeconfig's server {masked(full)!r} is not an HTTP or HTTPS address", hint=hint)
    authorization = ""
    if url.user is not None or url.password is not None:
        authorization = basic(url.user or "", url.password or "").authorization
        url = url.with_user(None)
    return Server(url, choose(url, proxy_url), authorization)
