"""The event bus on Google Cloud Pub/Sub: a topic, and a subscription for each trigger."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kubecdc.errors import UsageError
from kubecdc.storage.pubsub.settings import PubSubSettings

if TYPE_CHECKING:
    from kubecdc.storage.pubsub.bus import PubSubBus

__all__ = ["PubSubSettings", "open_bus", "require_library"]


async def open_bus(settings: PubSubSettings, *, holder: str, create: bool = True) -> PubSubBus:
    """Open the bus. ``holder`` names this process, for people.

    Raises UsageError where the library or credentials are missing, and without `create` for a bus that is not there;
    Unavailable if Pub/Sub does not answer.
    """
    require_library()
    from kubecdc.storage.pubsub.bus import PubSubBus

    bus = PubSubBus(settings, holder=holder)
    await bus.open(create=create)
    return bus


def require_library() -> None:
    """Raise UsageError where the library of Pub/Sub is not installed. It is imported when a bus is opened, not before:
    a manifest can be checked without it."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # or gRPC writes lines of its own among ours
    try:
        import google.pubsub_v1  # noqa: F401
        import grpc_status  # noqa: F401
        import zstandard  # noqa: F401
    except ImportError as e:
        hint = "pip install 'kubecdc[pubsub]'"
        raise UsageError(f"a pubsub bus needs the Python library of Pub/Sub: {e}", hint=hint) from e
