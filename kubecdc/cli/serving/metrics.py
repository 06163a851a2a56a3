"""The metrics of the process, in the format that Prometheus asks for."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from kubecdc.cli.serving.server import Answer, Page


def pages() -> Mapping[str, Page]:
    """The paths of the server."""
    return {"/metrics": _metrics}


def _metrics(headers: Message) -> Answer:
    encoder, content_type = choose_encoder(headers.get("Accept", ""))
    return Answer(200, content_type, encoder(REGISTRY))
