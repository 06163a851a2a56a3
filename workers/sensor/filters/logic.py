"""How filters are joined: by "and" and "or", each in the order of the manifest.

A filter that cannot be evaluated counts as false, wherever it stands, so it never keeps out what another branch of an
"or" lets pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubecdc.reasons import one_line
from kubecdc.workers.sensor.values import Values


class FilterError(Exception):
    """The event does not have what the filter looks at, or has it in a form that the filter cannot compare."""


class Unjudged(FilterError):
    """It is not known whether the event passes, because of a limit that is not in the manifest."""


class Condition(Protocol):
    """A part of the filters."""

    def holds(self, values: Values, denials: list[Denial]) -> bool:
        """Whether it is true. Adds to ``denials`` the checks that are not."""
        ...


@dataclass(frozen=True)
class Check:
    """One filter. ``text`` tells it in messages: where it stands, and what it asks for. ``test`` raises FilterError.

    ``is_slow``: it may take long for a small event too.
    """

    text: str
    test: Callable[[Values], bool]
    is_slow: bool = False

    def holds(self, values: Values, denials: list[Denial]) -> bool:
        try:
            if self.test(values):
                return True
        except FilterError as e:
            denials.append((self.text, e))
        except RecursionError:
            denials.append((self.text, Unjudged("the event is nested too deep for it")))
        else:
            denials.append((self.text, None))
        return False


Denial = tuple[str, FilterError | None]  # the text of a check, and the error of one that could not be evaluated


@dataclass(frozen=True)
class All:
    """True if every part is. The first that is false ends it."""

    parts: Sequence[Condition]

    def holds(self, values: Values, denials: list[Denial]) -> bool:
        return all(part.holds(values, denials) for part in self.parts)


@dataclass(frozen=True)
class AnyOf:
    """True if one of the parts is. The first that is true ends it."""

    parts: Sequence[Condition]

    def holds(self, values: Values, denials: list[Denial]) -> bool:
        return any(part.holds(values, denials) for part in self.parts)


@dataclass(frozen=True)
class Verdict:
    """Whether an event passes, and which checks it failed on the way."""

    passes: bool
    denials: Sequence[Denial] = ()

    @property
    def has_errors(self) -> bool:
        """A check could not be evaluated."""
        return any(error is not None for _, error in self.denials)

    @property
    def is_unjudged(self) -> bool:
        """The event does not pass, and perhaps it should."""
        return not self.passes and any(isinstance(error, Unjudged) for _, error in self.denials)

    @property
    def false(self) -> list[str]:
        """The checks that were evaluated to false, a printable line each."""
        return [one_line(text) for text, error in self.denials if error is None]

    @property
    def errors(self) -> list[str]:
        """The checks that could not be evaluated, and why, a printable line each. They count as false."""
        return [one_line(f"{text}: {error}") for text, error in self.denials if error is not None]

    @property
    def reason(self) -> str:
        """Why the event does not pass, as one printable, bounded line."""
        return one_line("; ".join([*(f"{text} is false" for text in self.false), *self.errors]))


PASSES = Verdict(True)
