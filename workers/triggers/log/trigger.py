"""The ``log`` trigger: a line on standard output for each event, or at most one per interval."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias

import msgspec

from kubecdc.concurrency import INLINE_BYTES, Limit, in_thread
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.triggers.contract import Render, json_line
from kubecdc.workers.triggers.log import lines
from kubecdc.workers.triggers.log.manifest import Log

LogRequest: TypeAlias = TriggerRequest[Log]
_LF, _CR = b"\n\r"  # as numbers, which are found in half the time
_SPACES = bytes.maketrans(b"\r\n", b"  ")


class LogTrigger:
    """Writes the event, its context and the Sensor's ``loggingFields``.

    With ``intervalSeconds``, an event that comes too soon after the last line gets none. The next line has their number
    (``suppressed``).
    """

    def __init__(
        self,
        *,
        fields: Mapping[str, str],
        render: Render = json_line,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self._fields = fields
        self._render = render
        self._clock = clock
        self._wall = wall
        self._second, self._date = -1, ""  # of the last line
        self._last: float | None = None
        self._suppressed = 0
        self._large = Limit(1)

    def prepare(self, request: LogRequest) -> LogRequest:
        """The request as it is: the type has no parameters of its own."""
        return request

    async def execute(self, request: LogRequest) -> Outcome:
        """Write the line, within `lines.DEADLINE` seconds."""
        interval = request.config.interval_seconds
        now = self._clock()
        if self._last is not None and now - self._last < interval:
            self._suppressed += 1
            return Success()
        try:
            record = {"timestamp": self._timestamp(), **self.preview(request)}
        except ParameterError as e:
            return Failure(str(e))
        if self._suppressed:
            record["suppressed"] = self._suppressed
        before, self._last, self._suppressed = (self._last, self._suppressed), now, 0
        try:
            if len(request.event.data) <= INLINE_BYTES:
                line = self._render(record)
            else:
                line = await self._large.call(in_thread, partial(self._render, record), seconds=lines.DEADLINE)
            await lines.STDOUT.write(line)
        except BaseException as e:
            self._last, self._suppressed = before[0], self._suppressed + before[1]
            if isinstance(e, TimeoutError):
                return Retry(f"nobody has read from standard output for {lines.DEADLINE:g} s")
            if isinstance(e, OSError):
                return Retry(f"standard output cannot be written to: {e.strerror or type(e).__name__}")
            raise
        return Success()

    def _timestamp(self) -> str:
        """The time as RFC 3339 has it, in UTC. All lines of a second share what takes longest to format."""
        second, microsecond = divmod(self._wall() // 1000, 1_000_000)
        if second != self._second:
            self._second, self._date = second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._date}.{microsecond:06d}+00:00"

    def preview(self, request: LogRequest) -> dict[str, object]:
        """The line without its timestamp, as JSON values, with the data unchanged. Raises ParameterError if not UTF-8.

        The fields ``timestamp``, ``level`` and ``event`` are those of kubecdc's own log lines; the event is the object.
        """
        return {
            **self._fields,
            "level": "info",
            "event": request.event.partitionkey,
            "sensor": request.sensor,
            "trigger": request.trigger,
            "dependencyName": request.dependency,
            "eventContext": request.values.context,
            "data": _on_a_line(request.event.data),
        }

    async def close(self) -> None:
        """Nothing to release."""


def _on_a_line(data: msgspec.Raw) -> msgspec.Raw:
    """The JSON text, on one line. That it is JSON was checked when the event was decoded, but not its UTF-8."""
    text = bytes(data)
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as e:
            raise ParameterError(f"the event's data cannot be read: {e}") from e
    # Inside a JSON string a line break is escaped, so these are between tokens.
    return msgspec.Raw(text.translate(_SPACES)) if _LF in text or _CR in text else data
