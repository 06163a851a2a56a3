"""Runs the programs of all triggers of a worker, beside its event loop."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from kubecdc.workers.scripts.process import Child, Interrupted, ScriptError
from kubecdc.workers.scripts.program import Program

SLOW = 0.1  # seconds: a program that has once taken longer for an event


class Scripts:
    """Runs programs in up to two processes, which start when they are needed.

    The second one is for programs that have once been slow, or have ended their process. So one that runs away holds up
    others like it, and nothing else. What waits for its turn is bounded by the deliveries in flight.
    """

    def __init__(self) -> None:
        self._quick, self._slow = Child(), Child()
        self._known_as_slow: set[Program] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pids(self) -> list[int]:
        """Of the processes that live."""
        return [child.pid for child in (self._quick, self._slow) if child.pid]

    async def run(self, program: Program, data: bytes) -> bytes:
        """The result of a program for an event's data: JSON. Raises ScriptError, Interrupted."""
        child = self._slow if program in self._known_as_slow else self._quick
        try:
            result, took = await child.ask(program.kind, program.text, data)
        except ScriptError as e:
            if e.has_ended:
                self._known_as_slow.add(program)
            raise
        except Interrupted:
            self._known_as_slow.add(program)
            raise
        if took > SLOW:
            self._known_as_slow.add(program)
        return result

    async def close(self) -> None:
        """End the processes."""
        await self._quick.close()
        await self._slow.close()
