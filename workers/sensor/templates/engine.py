"""Templates, compiled once and rendered by gotpl, which is imported only if there are any, because that takes 0.2 s."""

from __future__ import annotations

import difflib
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kubecdc.workers.sensor.templates.errors import Exhausted, TemplateError
from kubecdc.workers.sensor.templates.meter import Meter, running
from kubecdc.workers.sensor.templates.values import of_json

if TYPE_CHECKING:
    import gotpl
    from gotpl.compile.instructions import Program

LONGEST = 16 * 1024  # characters; to compile as many takes 0.1 s
NO_VALUE = "<no value>"  # what Go prints for what is not there
_TURN = 2.0  # microseconds for an instruction
_PLACE = re.compile(r'template: ?(?:template:)?(?P<line>\d+):(?P<column>\d+): (?:executing "[^"]*": )?')
_UNKNOWN = re.compile(r"function '(\w+)' not defined")
_CHANGING = re.compile(r"\b(set|unset|merge|mergeOverwrite|mustMerge|mustMergeOverwrite)\b")


class Template:
    """A compiled template. `compile` makes it."""

    def __init__(self, compiled: gotpl.Template) -> None:
        self._compiled = compiled
        self._cost = _size(compiled._program) * _TURN
        self.changes = bool(_CHANGING.search(compiled.source))  # what it is given

    def render(self, given: Any, meter: Meter | None = None) -> str:
        """The text for ``.Input``, which is text or comes from `given`.

        Raises TemplateError if it fails, or gives nothing or ``<no value>``, which is the same in Argo Events; Runaway
        or NeedsThread if the meter has not enough left.
        """
        from gotpl.runtime.sync_vm import render_program

        from kubecdc.workers.sensor.templates.fields import OBJECTS

        meter = meter or Meter()
        running.meter, meter.turn = meter, self._cost
        try:
            meter.charge(self._cost)
            text: str = render_program(
                self._compiled._program,
                {"Input": given},
                functions=self._compiled._runtime_functions,
                missing_key=OBJECTS,
                _namespace=self._compiled._namespace,
                _linked_program=self._compiled._linked_program,
                _linked_namespace=self._compiled._linked_program.namespace,
                _linked_root=self._compiled._linked_program,
                _budget_state=meter,  # it has what gotpl calls of its own ExecutionBudgetState
            )
        except Exception as e:  # whatever a function of gotpl's does with what it was given
            meter.require_left()
            raise TemplateError(_reason(e)) from None
        finally:
            running.meter = None
        meter.require_left()
        if text in ("", NO_VALUE):
            raise TemplateError("it gives no value" if text else "it gives nothing")
        return text


def given(value: Any, meter: Meter) -> Any:
    """`of_json`, charged. Raises Runaway or NeedsThread."""
    running.meter = meter
    try:
        return of_json(value)
    except Exhausted:
        meter.require_left()
        raise
    finally:
        running.meter = None


class _Reader(threading.local):
    of_event = False


_reader = _Reader()  # of this thread: what it validates
_KNOWN: dict[str, Template] = {}  # those of the manifests: they stay


@contextmanager
def only_known() -> Iterator[None]:
    """Within it, `compile` refuses what no manifest has: what an event says must not become a program."""
    _reader.of_event = True
    try:
        yield
    finally:
        _reader.of_event = False


def compile(text: str) -> Template:  # noqa: A001 - as in `re.compile`
    """A template of a manifest. Raises TemplateError."""
    if (known := _KNOWN.get(text)) is not None:
        return known
    if _reader.of_event:
        raise TemplateError("an event cannot bring a template")
    return _KNOWN.setdefault(text, _compile(text))


def _compile(text: str) -> Template:
    if len(text) > LONGEST:
        raise TemplateError(f"a template has {len(text)} characters; at most {LONGEST} are compiled")
    import gotpl

    from kubecdc.workers.sensor.templates.functions import functions

    known = functions()
    try:
        return Template(gotpl.Template(text, functions=known))
    except Exception as e:
        raise TemplateError(_reason(e), _hint(str(e), known)) from None


def _hint(message: str, known: Iterable[str]) -> str:
    from kubecdc.workers.sensor.templates.functions import REMOVED

    if (unknown := _UNKNOWN.search(message)) is None:
        return "its syntax is that of Go: https://pkg.go.dev/text/template"
    name = unknown[1]
    if name in REMOVED:
        return f"Argo Events has it, kubecdc does not: {REMOVED[name]}"
    similar = difflib.get_close_matches(name, known, n=1)
    return f"did you mean `{similar[0]}`?" if similar else "functions: https://masterminds.github.io/sprig/"


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    text = str(error) or type(error).__name__
    place = _PLACE.match(text)
    return f"line {place['line']}, column {place['column']}: {text[place.end() :]}" if place else text


def _size(program: Program) -> int:
    return len(program.instructions) + sum(map(_size, program.definitions))
