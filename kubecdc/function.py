"""What the handler of a ``function`` trigger is called with, and what it raises. See docs/function.md.

``handler(event: Event, context: Context, **args)``: if it returns, the event is done. The names in ``__all__`` are
stable.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["Context", "Discard", "Event", "Retry"]


class Retry(Exception):
    """The work may succeed later: a failed attempt, after which the event is delivered again.

    ``after`` is the time until then, as seconds or timedelta, if something asked for it. ``reason`` is for operators.
    Raises ValueError if ``after`` is no time.
    """

    def __init__(self, after: float | timedelta | None = None, reason: str = "") -> None:
        super().__init__(reason)
        self.after = after.total_seconds() if isinstance(after, timedelta) else after
        self.reason = reason
        if self.after is not None and not (isinstance(self.after, int | float) and 0 <= self.after < math.inf):
            raise ValueError(f"after is {after!r}, not a number of seconds: Retry(30), Retry(reason='…')")


class Discard(Exception):
    """The work can never succeed for this event: it becomes a dead letter with the ``reason``, without another try."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change of an object. It is a CloudEvent, whose attributes have the names of the specification.

    ``id`` is the same whenever the same change is delivered. ``source`` is the name of the EventSource, ``subject``
    that of its entry, ``partitionkey`` names the object. docs/guarantees.md has the meaning of the others.
    """

    id: str
    source: str
    subject: str
    type: str
    time: str
    partitionkey: str
    sequence: str
    epoch: int
    timeline: int = 0
    synthetic: bool = False  # made by comparing lists, not by a watch
    deselected: bool = False  # a DELETE of an object that still exists, and only left the selection
    truncated: bool = False  # the object was too large for the bus: only its names and version are there
    redelivery: str = ""  # "redrive" or "replay" if an operator has had it delivered again
    traceparent: str = ""
    cluster: str = ""  # the name that --cluster-name gives it
    raw: bytes = field(repr=False)  # the JSON text of `data`

    @cached_property
    def data(self) -> dict[str, Any]:
        """``{type, body, oldBody, group, version, resource, metadata}``, read anew for each call of the handler.

        Raises Discard if it cannot be read.
        """
        try:
            found: dict[str, Any] = msgspec.json.decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            what = "it is nested too deep" if isinstance(e, RecursionError) else str(e)
            raise Discard(f"the event's data cannot be read: {what}") from None
        return found

    @property
    def action(self) -> str:
        """``ADD``, ``UPDATE`` or ``DELETE``."""
        return str(self.data["type"])

    @property
    def body(self) -> dict[str, Any]:
        """The object after the change; before a DELETE, the last that is known of it."""
        found: dict[str, Any] = self.data["body"]
        return found

    @property
    def old_body(self) -> dict[str, Any] | None:
        """The object before an UPDATE, if the EventSource has ``inventory: objects``."""
        return self.data.get("oldBody")

    @property
    def name(self) -> str:
        """The name of the object."""
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """The namespace of the object, "" if it has none."""
        return str(self.body["metadata"].get("namespace", ""))


@dataclass(frozen=True, kw_only=True)
class Context:
    """Where and how the handler is called."""

    sensor: str
    trigger: str
    idempotency_key: str  # the same in every repetition of this work, and of no other
    attempt: int  # of this event, from 1; tries of a retryStrategy are one attempt
    deadline: float  # of the call, as time.monotonic() counts
    logger: FilteringBoundLogger  # of structlog; its lines name the Sensor, the trigger, the event and the attempt
    _over: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the result counts no more: the time is over, or the worker stops. Long handlers in threads ask."""
        return self._over.is_set() or not self.remaining

    def end(self) -> None:
        """For the caller of the handler: nobody waits for the result any more."""
        self._over.set()


Handler = Callable[..., Any]
