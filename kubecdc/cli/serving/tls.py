"""A certificate that is read again when its files change, as those of cert-manager do."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import structlog

from kubecdc.errors import UsageError

log = structlog.get_logger()
State = tuple[int, ...]


class Certificate:
    """The certificate and key of a server. Raises UsageError if they cannot be used at first."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._state: State = ()
        try:
            self._state = self._now()
            self._context = self._load()
        except (OSError, ValueError) as e:
            raise UsageError(
                f"{certificate} and {key} cannot be used: {e}", hint="give a certificate in PEM, and its key"
            ) from e

    def wrap(self, connection: socket.socket) -> socket.socket:
        """The same connection, encrypted with the certificate as it is now. Raises OSError."""
        self._refresh()
        return self._context.wrap_socket(connection, server_side=True)

    def _refresh(self) -> None:
        """What is half written, or does not fit together, is tried again with the next change."""
        try:
            state = self._now()
            if state == self._state:
                return
            self._state = state
            self._context = self._load()
        except (OSError, ValueError) as e:
            log.warning(
                "the certificate of the metrics cannot be read again; the last one is used",
                code="metrics-certificate-unreadable",
                error=str(e),
            )

    def _now(self) -> State:
        found = [file.stat() for file in self._files]
        return tuple(number for one in found for number in (one.st_ino, one.st_size, one.st_mtime_ns))

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._files)
        return context
