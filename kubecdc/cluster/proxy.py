"""The proxy to the API server, chosen as kubectl does it.

The kubeconfig's ``proxy-url`` counts before the environment, and for every server (k8s.io/client-go/tools/clientcmd).
The rules for the environment are those of Go's golang.org/x/net/http/httpproxy.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import TypeAlias

from yarl import URL

from kubecdc.errors import UsageError

PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
SCHEMES = "http://, https://, socks5:// or socks5h://"
ACCOUNT_LENGTH = 255  # RFC 1929
_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^:\[\]]+)):(?P<port>[^:\[\]]*)")

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Proxy:
    """A proxy. ``url`` may hold a user and a password, ``str()`` does not show them."""

    url: URL

    @property
    def socks(self) -> bool:
        """Whether it speaks SOCKS 5. It resolves the server's name, under both names of the scheme, as in Go."""
        return self.url.scheme.startswith("socks")

    def __str__(self) -> str:
        return masked(str(self.url))


def choose(server: URL, proxy_url: str) -> Proxy | None:
    """The proxy for this server; None to connect directly. ``proxy_url`` is the kubeconfig's. Raises UsageError."""
    if proxy_url:
        return _parse(proxy_url, "the kubeconfig's proxy-url", f"begin it with {SCHEMES}")
    name = {"http": "HTTP_PROXY", "https": "HTTPS_PROXY"}[server.scheme]
    variable = name if os.environ.get(name) else name.lower()
    value = os.environ.get(variable, "")
    if not value or bypassed(server, os.environ.get("NO_PROXY") or os.environ.get("no_proxy", "")):
        return None
    return _parse(value if "://" in value else f"http://{value}", variable, f"begin it with {SCHEMES}, or unset it")


def bypassed(server: URL, no_proxy: str) -> bool:
    """Whether the environment's proxy is not for this server: by ``no_proxy``, or because it is this machine."""
    host, port = (server.raw_host or "").lower(), str(server.port)
    address = _address(host)
    if host == "localhost" or (address and address.is_loopback):
        return True
    rules = (rule.strip().lower() for rule in no_proxy.split(","))
    return any(_matches(rule, host, port, address) for rule in rules if rule)


def masked(text: str) -> str:
    """The text, with the user and password of every URL in it replaced by ``***``."""
    return re.sub(r"(?<=://)\S*@", "***@", text)


def _matches(rule: str, host: str, port: str, address: _Address | None) -> bool:
    if rule == "*":
        return True
    if re.fullmatch(r".+/[0-9]+", rule):
        try:
            return address is not None and address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    parts = _HOST_PORT.fullmatch(rule)
    name, only_port = (parts["v6"] or parts["name"], parts["port"]) if parts else (rule, "")
    if only_port not in {"", port}:
        return False
    if (same := _address(name)) or address:
        return same == address
    name = name[1:] if name.startswith("*.") else name
    suffix = name if name.startswith(".") else f".{name}"
    ascii_suffix = f".{URL.build(scheme='http', host=suffix[1:]).raw_host}" if not suffix.isascii() else suffix
    return host.endswith(ascii_suffix) or (not name.startswith(".") and host == ascii_suffix[1:])


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # without the zone
    except ValueError:
        return None
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def _parse(text: str, where: str, hint: str) -> Proxy:
    _, at, host = text.rpartition("@")
    scheme = f"{text.split('://')[0]}://" if "://" in text else ""
    shown = f"{scheme}***@{host}" if at else text
    try:
        url = URL(text.strip())
    except ValueError:  # its text may contain the password
        raise UsageError(f"{where} is not a URL: {shown!r}", hint=hint) from None
    if url.scheme not in PORTS:
        raise UsageError(f"{where} {shown!r}: the scheme {url.scheme!r} is not supported", hint=hint)
    if not url.host:
        raise UsageError(f"{where} {shown!r} names no host", hint=hint)
    if any(not part.isascii() or len(part) > ACCOUNT_LENGTH for part in (url.user or "", url.password or "")):
        raise UsageError(
            f"{where} {shown!r}: its user and password must be ASCII, and of at most {ACCOUNT_LENGTH} characters each",
            hint="create an account for kubecdc at the proxy",
        )
    return Proxy(url.with_port(url.port or PORTS[url.scheme]))
