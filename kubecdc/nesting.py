"""How deep JSON may be nested, wherever kubecdc reads it."""

from __future__ import annotations

import sys

DEPTH = 12_000  # the API server reads JSON nested 10,000 deep (k8s.io/apimachinery); decoding recurses


def allow() -> None:
    """Let this process read what Kubernetes accepts: what one command captures, every other has to read."""
    sys.setrecursionlimit(max(DEPTH, sys.getrecursionlimit()))
