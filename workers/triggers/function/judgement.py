"""What becomes of an event, by what its handler returned or raised."""

from __future__ import annotations

from pathlib import Path
from traceback import extract_tb

from kubecdc import function
from kubecdc.errors import most_relevant
from kubecdc.function import Context
from kubecdc.reasons import LONGEST_REASON
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success

CALLS = 20  # of a traceback that are logged
_OWN = str(Path(__file__).parent)


class Judge:
    """Judges the calls of a trigger. Where an error comes from is logged once for each line of code that raises it."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def returned(self, result: object, name: str, context: Context) -> Outcome:
        """The outcome of a call that returned: a success, unless it returned what is to be raised."""
        return self.of(result, name, context) if isinstance(result, function.Retry | function.Discard) else Success()

    def of(self, error: BaseException, name: str, context: Context) -> Outcome:
        """The outcome of a call that raised."""
        error = most_relevant(error)
        match error:
            case function.Retry():
                return Retry(f"{name}: {error.reason or 'asks to be called again'}", error.after)
            case function.Discard():
                return Failure(f"{name}: {error.reason}")
        kind, text = type(error).__name__, _text(error)
        frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith(_OWN)]
        calls = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        place = calls[-1] if calls else ""
        if (kind, place) not in self._told:
            self._told.add((kind, place))
            context.logger.warning(
                "the handler raised an error", code="handler-raised", error=f"{kind}: {text}", calls=calls[-CALLS:]
            )
        return Retry(f"{name}: {kind}: {text}" + (f" ({place})" if place else ""))


def _text(error: BaseException) -> str:
    """The text of an error, bounded, whatever its class makes of it."""
    try:
        return str(error)[: LONGEST_REASON // 2]
    except Exception:
        return "(its text cannot be read)"
