"""A program of a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

from kubecdc.workers.scripts import frames, process

LONGEST = 64 * 1024  # characters
INSTALL = "pip install 'kubecdc[scripts]'"
_LIBRARIES: dict[frames.Kind, str] = {"jq": "jq", "lua": "lupa", "filter": "lupa"}


@dataclass(frozen=True)
class Program:
    """A program, and the ``field`` that the manifest has it in, for messages."""

    kind: frames.Kind
    text: str
    field: str


def missing(kind: frames.Kind) -> str:
    """The package that such a program needs and that is not installed, or ""."""
    library = _LIBRARIES[kind]
    return "" if find_spec(library) else library


@lru_cache(maxsize=1024)
def problem(kind: frames.Kind, text: str) -> str:
    """Why a program cannot be compiled, or "". It is tried where it will run, in a process of its own. Blocks."""
    if len(text) > LONGEST:
        return f"it has more than {LONGEST} characters"
    return process.compile_error(kind, text)
