"""The ``log`` trigger: a line on standard output for each event, or at most one per interval."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameters import context
from kubecdc.workers.triggers.log import lines
from kubecdc.workers.triggers.log.lines import Render

_encoder = msgspec.json.Encoder()
_SPACES = bytes.maketrans(b"\r\n", b"  ")


def json_line(record: Mapping[str, object]) -> bytes:
    """One JSON object."""
    return _encoder.encode(record) + b"\n"


class LogTrigger:
    """Writes the event, its context and the Sensor's ``loggingFields``.

    With ``intervalSeconds`` an event that comes too soon after the last line is done without one, and the next line
    says how many those were.
    """

    def __init__(
        self,
        *,
        fields: Mapping[str, str],
        render: Render = json_line,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fields = fields
        self._render = render
        self._clock = clock
        self._last: float | None = None
        self._suppressed = 0

    async def execute(self, request: TriggerRequest) -> Outcome:
        """Write the line."""
        assert request.template.log is not None
        interval = request.template.log.interval_seconds
        now = self._clock()
        if self._last is not None and now - self._last < interval:
            self._suppressed += 1
            return Success()
        try:
            record = self.preview(request)
        except UnicodeDecodeError as e:
            return Failure(f"the event's data cannot be read: {e}")
        if self._suppressed:
            record["suppressed"] = self._suppressed
        before, self._last, self._suppressed = (self._last, self._suppressed), now, 0
        try:
            await lines.STDOUT.write(self._render(record))
        except BaseException as e:
            self._last, self._suppressed = before[0], self._suppressed + before[1]
            if isinstance(e, TimeoutError):
                return Retry(f"nobody has read from standard output for {lines.DEADLINE:g} s")
            if isinstance(e, OSError):
                return Retry(f"standard output cannot be written to: {e.strerror or type(e).__name__}")
            raise
        return Success()

    def preview(self, request: TriggerRequest) -> dict[str, object]:
        """The line as JSON values; the data goes into it as it came. Raises UnicodeDecodeError if it cannot be read."""
        return dict(self._fields) | {
            "sensor": request.sensor,
            "trigger": request.trigger,
            "dependencyName": request.dependency,
            "eventContext": context(request.event),
            "data": _on_a_line(request.event.data),
        }

    async def close(self) -> None:
        """Nothing is held."""


def _on_a_line(data: msgspec.Raw) -> msgspec.Raw:
    """The JSON text, on one line. Decoding the event has found it well-formed, but for its UTF-8."""
    text = bytes(data)
    text.decode()
    # Inside a JSON string a line break is escaped: what there is stands between tokens.
    return msgspec.Raw(text.translate(_SPACES)) if b"\n" in text or b"\r" in text else data
