"""Where triggers may connect to, as the operator says with `--allow-addresses` and `--deny-addresses`.

The address counts that a name was looked up to for the connection, not what a manifest or an event calls it: whoever
chooses the name chooses what it leads to. A name that is allowed is trusted for that.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kubecdc.manifest.fields import dns_subdomain
from kubecdc.workers.outcome import Failure, Retry

ALLOW, DENY = "--allow-addresses", "--deny-addresses"
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address


class AddressRefused(Exception):
    """No connection is made. The message says what refuses it, and what to do."""


@dataclass(frozen=True)
class Addresses:
    """The rules. Without any, everything is allowed.

    ``networks`` and ``names`` are what is allowed, None if that is everything; ``denied`` comes before them.
    """

    networks: tuple[_Network, ...] | None = None
    names: tuple[str, ...] = ()
    denied: tuple[_Network, ...] = ()

    @classmethod
    def parse(cls, allow: Iterable[str], deny: Iterable[str]) -> Addresses:
        """The rules of the two options: networks and addresses, for ``allow`` also names. Raises ValueError.

        Each text has one or several, with commas or spaces between them.
        """
        networks, names = [], []
        allowed = _split(allow)
        for text in allowed:
            if (network := _network(text)) is not None:
                networks.append(network)
            else:
                names.append(_name(text))
        denied = []
        for text in _split(deny):
            if (network := _network(text)) is None:
                raise ValueError(f"{text!r} is not a network: a name cannot be denied, because another may lead there")
            denied.append(network)
        return cls(tuple(networks) if allowed else None, tuple(names), tuple(denied))

    @property
    def given(self) -> bool:
        """Whether there is a rule."""
        return self.networks is not None or bool(self.denied)

    def refusal(self, host: str, address: str) -> str:
        """Why nothing connects to the address of a host, "" if it may."""
        found = _read(address)
        what = address if host.strip("[]") == address else f"{host} ({address})"
        if found is None:
            return f"{what} is no address that a rule can judge" if self.given else ""
        same = [*_same(found)]
        for network in self.denied:
            if any(each in network for each in same):
                return f"{what} is refused by {DENY} {network}"
        if self.networks is None or self._is_named(host):
            return ""
        allowed = any(each in network for network in self.networks for each in same)
        return "" if allowed else f"{what} is not among {ALLOW}"

    def require(self, host: str, addresses: Sequence[str]) -> None:
        """Raise AddressRefused unless all addresses of a host may be connected to."""
        for address in addresses:
            if why := self.refusal(host, address):
                raise AddressRefused(f"{why}; {_fix(host)}")

    def permitted(self, host: str, addresses: Sequence[str]) -> list[str]:
        """Those of the addresses of a host that may be connected to. Raises AddressRefused if there is none."""
        found = [address for address in addresses if not self.refusal(host, address)]
        if not found:
            self.require(host, addresses)
        return found

    def require_host(self, host: str) -> None:
        """Raise AddressRefused if the host is an address that is refused. A name is not looked up."""
        if _read(host.strip("[]")) is not None:
            self.require(host, [host.strip("[]")])

    def look_up(self, host: str) -> None:
        """As `require`, of a host that somebody else connects to: it is looked up, which blocks. Raises OSError."""
        if self.given:
            found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
            self.require(host, [str(address[0]) for *_, address in found])

    def _is_named(self, host: str) -> bool:
        host = host.rstrip(".").lower()
        return any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in self.names)


EVERYWHERE = Addresses()


def refused(where: str, error: AddressRefused, *, chosen: bool) -> Failure | Retry:
    """The outcome. An event that has ``chosen`` the address is at fault; others wait until rule or manifest changes.

    ``where`` is what was to be reached, for the reason.
    """
    reason = f"{where}: {error}"
    return Failure(reason) if chosen else Retry(reason, ours=True)


def _split(texts: Iterable[str]) -> list[str]:
    found: list[str] = []
    for text in texts:
        parts = [part for part in re.split(r"[,\s]+", text) if part]
        if not parts:  # it may not mean that everything is allowed
            raise ValueError("one of them is empty: leave it out, or name something")
        found += parts
    return found


def _fix(host: str) -> str:
    return f"correct the address, or the rule if {host} is meant to be reached"


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"))
    except ValueError as e:
        if "host bits" in str(e):
            raise ValueError(f"{e}: write {ipaddress.ip_network(text, strict=False)}") from None
        return None


def _name(text: str) -> str:
    name = text.lower().rstrip(".")
    try:
        dns_subdomain(name.removeprefix("*."))
    except ValueError as e:
        raise ValueError(f"{text!r} is neither a network nor the name of a host") from e
    return name


def _read(address: str) -> _Address | None:
    try:
        return ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _same(address: _Address) -> Iterator[_Address]:
    """The address, and those that packets to it arrive at."""
    yield address
    if address.is_unspecified:  # Linux connects to itself
        yield ipaddress.IPv4Address("127.0.0.1")
        yield ipaddress.IPv6Address("::1")
    if isinstance(address, ipaddress.IPv6Address):
        if within := address.ipv4_mapped or address.sixtofour:
            yield from _same(within)
        if address in _NAT64:
            yield from _same(ipaddress.IPv4Address(address.packed[-4:]))
