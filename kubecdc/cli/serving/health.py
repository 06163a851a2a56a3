"""Whether a process is alive, ready and started, as the probes of Kubernetes ask.

An outage of the bus or of the API server makes it not ready, and nothing else: a restart would not help.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping

from kubecdc.cli.serving.server import Answer, Page

BEAT_SECONDS = 1.0
HANG_SECONDS = 30.0  # without a beat: no step of the event loop takes as long
Check = Callable[[], str]  # "" or why not


class Health:
    """What the event loop tells, and a thread reads while the loop may hang. ``now`` is a monotonic clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic, *, hang: float = HANG_SECONDS) -> None:
        self._now = now
        self._hang = hang
        self._beat = math.nan  # time of the last turn of the loop
        self._checks: dict[str, Check] = {}

    async def turn(self, period: float = BEAT_SECONDS) -> None:
        """The heartbeat: as long as the loop turns, this goes on. Never returns."""
        while True:
            self._beat = self._now()
            await asyncio.sleep(period)

    def require(self, name: str, check: Check) -> None:
        """From now on, the process is ready only if this check, called in any thread, returns ""."""
        self._checks[name] = check

    @property
    def pages(self) -> Mapping[str, Page]:
        """The paths of the server."""
        return {
            "/livez": lambda _: _answer({"event loop": self._hanging()}),
            "/readyz": lambda _: _answer(self._unready()),
            "/startupz": lambda _: _answer({"start": self._starting()}),
        }

    def _starting(self) -> str:
        return "the event loop has not started" if math.isnan(self._beat) else ""

    def _hanging(self) -> str:
        """Before its first turn, it does not count as hanging."""
        age = self._now() - self._beat
        return f"it has not run for {age:.0f} s" if age > self._hang else ""

    def _unready(self) -> Mapping[str, str]:
        found = {"start": self._starting(), "event loop": self._hanging()}
        return found | {name: check() for name, check in list(self._checks.items())}


def _answer(found: Mapping[str, str]) -> Answer:
    """A line for each check, as those of the API server: `[+]bus default ok`."""
    lines = [f"[-]{name}: {why}" if why else f"[+]{name} ok" for name, why in found.items()]
    return Answer.text(503 if any(found.values()) else 200, "\n".join(lines) + "\n")
