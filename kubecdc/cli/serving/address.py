"""Where a server of this process listens: ``HOST:PORT``."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    """``host`` "" is every address of the machine, of IPv4 and IPv6. ``port`` 0 is any free one.

    ``optional``: nobody has asked for it, so a port that is taken is no error.
    """

    host: str
    port: int
    optional: bool = False

    @staticmethod
    def parse(text: str) -> Address | None:
        """`127.0.0.1:9464`, `[::1]:9464`, `:9464`; None for `0`, which is off. Raises ValueError."""
        if text == "0":
            return None
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT")
        if ":" in host and not bracketed:
            raise ValueError(f"{text!r} is not HOST:PORT: an IPv6 address is written in brackets")
        return Address(host[1:-1] if bracketed else host, int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def listener(self) -> socket.socket:
        """A socket that listens there. Raises OSError."""
        if not self.host:
            dual = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if dual else socket.AF_INET
            return socket.create_server(("", self.port), family=family, dualstack_ipv6=dual)
        family, _, _, _, place = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family)
