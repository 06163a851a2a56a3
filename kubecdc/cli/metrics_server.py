"""Serves the metrics of a long-running process, in a thread."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import start_http_server

from kubecdc.errors import UsageError

PAUSE = 0.2  # seconds, when no descriptor is left for a connection


def start(port: int) -> None:
    """Serve Prometheus metrics from now on. Raises UsageError if the port cannot be used."""
    try:
        server, _ = start_http_server(port)
    except OSError as e:
        raise UsageError(f"metrics cannot be served on port {port}: {e}", hint="give another --metrics-port") from e
    accept = server.get_request

    def get_request() -> Any:
        try:
            return accept()
        except OSError:  # the library tries again at once, and would take a whole core for that
            time.sleep(PAUSE)
            raise

    server.get_request = get_request  # type: ignore[method-assign]
