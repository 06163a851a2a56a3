"""A program of a manifest, and the field that has it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

from pydantic import AfterValidator

from kubecdc.manifest.fields import invalid
from kubecdc.workers.scripts import frames, process

LONGEST = 64 * 1024  # characters
INSTALL = "pip install 'kubecdc[scripts]'"
_LIBRARIES: dict[frames.Kind, str] = {"jq": "jq", "lua": "lupa", "filter": "lupa"}


@dataclass(frozen=True)
class Program:
    """A program and its language."""

    kind: frames.Kind
    text: str


def compiles(kind: frames.Kind) -> AfterValidator:
    """The check of a field with a program. Empty text is none, as in Argo."""

    def check(text: str) -> str:
        if text and not find_spec(library := _LIBRARIES[kind]):
            raise invalid(f"needs the package `{library}`, which is not installed", INSTALL)
        if text and (found := problem(kind, text)):
            raise invalid(f"is not valid: {found}")
        return text

    return AfterValidator(check)


@lru_cache(maxsize=1024)
def problem(kind: frames.Kind, text: str) -> str:
    """Why a program cannot be compiled, or "". It is tried where it will run, in a process of its own. Blocks."""
    if len(text) > LONGEST:
        return f"it has more than {LONGEST} characters"
    return process.compile_error(kind, text)
