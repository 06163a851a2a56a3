"""Limits of what templates may compute for one event.

That is counted, not timed, so that an event has the same fate on every machine. The unit is a microsecond of CPU as
estimated: a list or an object costs something whenever it is walked, a function something for the text that it is
given and makes, a range something for each turn. Only regular expressions are timed.
"""

from __future__ import annotations

import threading

from kubecdc.workers.sensor.templates.errors import Exhausted, NeedsThread, Runaway

INLINE = 10_000.0  # microseconds of CPU on the event loop
IN_THREAD = 1_000_000.0
MADE = 0.1  # for each character that is made; it bounds the memory, too
_WRITE, _CALL, _TEMPLATE = 1.0, 4.0, 10.0
_DEEPEST = 100  # templates that call each other


class Meter:
    """The computing time that is left for the templates of one event, in microseconds.

    ``inline``: they are rendered on the event loop.
    """

    __slots__ = ("_given", "inline", "left", "turn")

    def __init__(self, left: float = IN_THREAD, *, inline: bool = False) -> None:
        self._given = self.left = left
        self.inline = inline
        self.turn = 0.0  # what each turn of a range costs in the template that is rendered

    @property
    def spent(self) -> float:
        """Microseconds."""
        return self._given - self.left

    def charge(self, microseconds: float) -> None:
        """Raises Exhausted."""
        self.left -= microseconds
        if self.left < 0:
            raise Exhausted

    def require_left(self) -> None:
        """Raises NeedsThread or Runaway if it was exhausted, whatever the template made of that."""
        if self.left < 0:
            raise NeedsThread if self.inline else Runaway

    # What gotpl calls, as it calls its own ExecutionBudgetState:

    def consume_output(self, amount: int) -> None:
        """Some text is written."""
        self.charge(_WRITE + amount * MADE)

    def consume_iteration(self) -> None:
        """A range begins a turn."""
        self.charge(self.turn)

    def consume_function_call(self) -> None:
        """A function is called."""
        self.charge(_CALL)

    def check_template_depth(self, depth: int) -> None:
        """A template calls another."""
        if depth > _DEEPEST:
            raise ValueError(f"templates call each other more than {_DEEPEST} deep")
        self.charge(_TEMPLATE + self.turn)


class _Running(threading.local):
    meter: Meter | None = None


running = _Running()  # of this thread: whose template it renders


def charge(microseconds: float) -> None:
    """Charge the meter of the template that this thread renders. Raises Exhausted."""
    if running.meter is not None:
        running.meter.charge(microseconds)
