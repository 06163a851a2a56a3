"""A case of the suite, and the harness that it needs for the back end under test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from kubecdc.storage.contracts import Bus, Capabilities
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.testing.actors import event


class Harness(Protocol):
    """A new, empty bus of the back end."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def short(self) -> timedelta:
        """An ackWait that is so short that a case can wait for it twice."""
        ...

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        """Open the bus as another process would. The harness closes it."""
        ...


Body = Callable[[Harness], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """A rule for every back end that has the capabilities named in ``requires``."""

    name: str
    requires: tuple[str, ...]
    run: Body

    def excuse(self, capabilities: Capabilities) -> str:
        """The missing capability that excuses the back end from this case, or ""."""
        return next((name for name in self.requires if not getattr(capabilities, name)), "")


def collect(cases: list[Case], *requires: str) -> Callable[[Body], Body]:
    """Decorator: add a case with the name of its function."""

    def add(body: Body) -> Body:
        cases.append(Case(getattr(body, "__name__", repr(body)), requires, body))
        return body

    return add


def one_of(harness: Harness, number: int) -> Event:
    """An event of that number: of the same object as the others where there is order, so that order is seen.

    Without order, each has its own object, because older events of one may be dropped (`Capabilities.never_back`).
    """
    return event(number, "a" if harness.capabilities.order else f"object-{number}")


def in_order(harness: Harness, ids: list[str]) -> list[str]:
    """The ids as received from a back end with order; sorted from one that promises none."""
    return ids if harness.capabilities.order else sorted(ids)
