"""Events that are encrypted with a key that this process does not have: they wait, and are never given up for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from kubecdc.facts import MOST, Trouble
from kubecdc.reasons import one_line
from kubecdc.storage.contracts.errors import Locked, Undecodable
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.attempt import log_fields
from kubecdc.workers.claim import Claim
from kubecdc.workers.route import Route
from kubecdc.workers.settings import Settings
from kubecdc.workers.settlement import Nack

log = structlog.get_logger()
LATE = 60.0  # seconds after an event was due for which its key still counts as missing


@dataclass
class Missing:
    """A key that was missing from ``since`` on (Unix time), and an event of which is due again at ``due``."""

    reason: str
    hint: str
    since: float
    due: float


def wait(event: Event, claim: Claim, route: Route, settings: Settings) -> Nack:
    """Settle an event that could not be opened. It comes back after as long as its key is missing, or `backoff.cap`."""
    try:
        route.codec.open(event)
    except Undecodable:  # its next delivery says so
        return Nack(0.0)
    except Locked as e:
        now = settings.wall()
        missing = route.missing_keys.get(event.encryptionkey)
        if missing is None or now > missing.due + LATE:
            missing = route.missing_keys[event.encryptionkey] = Missing(str(e), e.hint, now, now)
            text = "an event waits for the key that it is encrypted with, and so do others that need it"
            log.warning(text, code="event-locked", error=str(e), hint=e.hint, **log_fields(claim, route))
        delay = min(settings.backoff.cap, max(settings.backoff.duration, now - missing.since))
        missing.due = max(missing.due, now + delay)
        return Nack(delay)
    return Nack(0.0)  # the key has come meanwhile


def trouble(route: Route, wall: Callable[[], float]) -> Trouble | None:
    """The key for which events of the route wait longest."""
    now = wall()
    waiting = [missing for missing in list(route.missing_keys.values()) if now <= missing.due + LATE]
    longest = min(waiting, key=lambda missing: missing.since, default=None)
    return None if longest is None else Trouble(one_line(longest.reason, MOST), longest.since, longest.hint)
