"""The event bus on RQ 3: events are jobs, which ``kubecdc work`` and RQ's own workers run."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from kubecdc.errors import UsageError
from kubecdc.storage.redis_server import require_library
from kubecdc.storage.redis_server.settings import Access, ServerSettings

if TYPE_CHECKING:
    from kubecdc.storage.rq.bus import RqBus

__all__ = ["Access", "ServerSettings", "open_bus"]


async def open_bus(
    settings: ServerSettings,
    *,
    holder: str,
    create: bool = True,
    rng: random.Random | None = None,
    now: Callable[[], float] | None = None,
) -> RqBus:
    """Open the bus, making it if it is not there. ``holder`` names this process, for people.

    ``now`` is the monotonic clock of what this process holds; all other times are the server's. Raises UsageError for a
    URL that cannot be used, where RQ 3 is not installed, and without `create` for a bus that is not there; Refused for
    a Redis that may evict or is too old; Unavailable if it does not answer.
    """
    require_library("rq")
    _require_rq()
    from kubecdc.storage.rq.bus import RqBus

    bus = RqBus(settings, holder=holder, rng=rng or random.Random(), now=now)  # spreads waits, no secret
    await bus.open(create=create)
    return bus


def _require_rq() -> None:
    hint = "pip install 'kubecdc[rq]'"
    try:
        from rq import __version__ as version
    except ImportError as e:
        raise UsageError(f"an rq bus needs RQ 3: {e}", hint=hint) from e
    if version.partition(".")[0] != "3":
        raise UsageError(f"an rq bus needs RQ 3, and RQ {version} is installed", hint=hint)
