"""A service that is told of failures: prints each of them once.

    python receiver.py 8080

A failure may be told more than once, for example if this process ends before its answer has arrived. ``failure`` is the
same each time.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

told: set[str] = set()  # keep this where the work is kept, to know repetitions after a restart


def described(failure: dict[str, Any]) -> str:
    """A failure in one line."""
    told = [failure["message"]] if failure["message"] else []
    for node in failure["nodes"]:
        code = node["exitCode"]
        told.append(f"{node['name']} {node['message'] if code is None else f'exited with {code}'}")
    return f"{failure['namespace']}/{failure['name']} {failure['phase']}: {', '.join(told)}"


class Handler(BaseHTTPRequestHandler):
    """Takes one failure in each request."""

    def do_POST(self) -> None:
        """Print it, then answer: what was not answered is told again."""
        failure = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if failure["failure"] not in told:
            print(described(failure), flush=True)
            told.add(failure["failure"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """No line for each request."""


if __name__ == "__main__":
    with HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        print(f"listening on port {server.server_port}", flush=True)
        server.serve_forever()
