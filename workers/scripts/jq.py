"""jq programs, as `transform.jq` has them. Only the process of `child` imports this."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jq

from kubecdc.workers.scripts.failed import Failed

_TOO_DEEP = "<skipped: too deep>"  # what jq writes instead of data nested more than 10,000 deep


@cache
def _compiled(program: str) -> Any:
    """The program, whose result becomes text: jq keeps the digits of numbers that Python would round."""
    try:
        jq.compile(program)  # as it is, for the places in messages
        return jq.compile(f"({program}\n) | tojson")
    except ValueError as e:
        first = str(e).partition("\n")[0].removeprefix("jq: error: ").removesuffix(":")
        what, _, where = first.partition(" at <top-level>, ")
        raise Failed(f"{where}: {what}" if where else what) from None


def run(program: str, data: bytes | None) -> bytes:
    """The first result of a program, which must be an object; without data it is only compiled. Raises Failed."""
    compiled = _compiled(program)
    if data is None:
        return b""
    try:
        text: str | None = next(iter(compiled.input_text(data.decode())), None)
    except ValueError as e:
        raise Failed(str(e)) from None
    if text is None:
        raise Failed("it gives no result")
    if not text.startswith("{"):
        raise Failed(f"its first result is {_kind(text)}: it must be an object")
    if _TOO_DEEP in text:
        try:
            json.loads(text)
        except ValueError:
            raise RecursionError from None
    return text.encode()


def _kind(text: str) -> str:
    return {"[": "an array", '"': "text", "n": "null", "t": "true", "f": "false"}.get(text[0], "a number")
