"""The nodes of a Workflow's status, which Argo compresses if the object would be too large.

docs/offloading-large-workflows.md and workflow/packer of Argo Workflows. Exactly one form is written: a reader
decompresses only if there are no plain nodes.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

Nodes = dict[str, dict[str, Any]]
LARGEST = 64 * 1024 * 1024  # bytes of JSON; an object of Kubernetes has about 1 MiB, and may be made to unpack to more


class NodesUnreadable(ValueError):
    """The nodes cannot be read from the object. The text begins with "its"."""


def read(status: Mapping[str, Any]) -> Nodes:
    """The nodes. Raises NodesUnreadable."""
    if status.get("nodes"):
        nodes = status["nodes"]
    elif status.get("compressedNodes"):
        nodes = _unpacked(status["compressedNodes"])
    elif status.get("offloadNodeStatusVersion"):
        raise NodesUnreadable("its nodes are in the database of Argo Workflows, out of reach of the Kubernetes API")
    else:
        nodes = {}
    if not isinstance(nodes, dict) or not all(isinstance(node, dict) for node in nodes.values()):
        raise NodesUnreadable("its nodes are not a mapping of nodes")
    return nodes


def write(status: Mapping[str, Any], nodes: Nodes) -> dict[str, Any]:
    """The status with these nodes, in the form that it has."""
    rest = {k: v for k, v in status.items() if k not in {"nodes", "compressedNodes"}}
    if status.get("compressedNodes"):
        packed = gzip.compress(msgspec.json.encode(nodes), mtime=0)
        return {**rest, "compressedNodes": base64.b64encode(packed).decode()}
    return {**rest, "nodes": nodes}


def _unpacked(text: object) -> Any:
    try:
        packed = base64.b64decode(str(text), validate=True)
        if packed[:2] != b"\x1f\x8b":
            raise NodesUnreadable("its nodes are compressed, but not with gzip")
        unpacker = zlib.decompressobj(wbits=31)
        plain = unpacker.decompress(packed, LARGEST)
        if not unpacker.eof:
            raise NodesUnreadable(f"its nodes are cut off, or have more than {LARGEST} bytes")
        return msgspec.json.decode(plain)
    except (ValueError, zlib.error, msgspec.DecodeError) as e:
        if isinstance(e, NodesUnreadable):
            raise
        raise NodesUnreadable(f"its compressed nodes cannot be read: {e}") from None
