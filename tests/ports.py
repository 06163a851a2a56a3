"""Ports for servers that tests start, and start again."""

from __future__ import annotations

import os
import random
import socket

# Below the ports that the kernel gives to whoever asks for any (net.ipv4.ip_local_port_range): while a server is down,
# nobody else is given its port.
_PORTS = range(12_000, 32_000)
_rng = random.Random(os.getpid())


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now."""
    while True:
        port = _rng.choice(_PORTS)
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
