"""JSON that is nearly valid, as some servers send it: `NaN`, half a surrogate pair, bytes that are not UTF-8.

It is slow, and only for finding out which object is to be left out.
"""

from __future__ import annotations

import json
import re
from typing import Any

_decoder = json.JSONDecoder(strict=False, parse_int=float)
_start = re.compile(r"[\s,:]*(.)", re.DOTALL)


def decode(text: bytes) -> Any:
    """The value. Raises ValueError, RecursionError."""
    return _decoder.decode(text.decode("utf-8", "surrogateescape"))


def items(text: bytes) -> list[bytes]:
    """The values in a list, as they are written. Raises as `decode`."""
    return _parts(text, list)


def fields(text: bytes) -> dict[bytes, bytes]:
    """The names in an object, with their quotes, and the values, as they are written. Raises as `decode`."""
    parts = _parts(text, dict)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _parts(text: bytes, kind: type) -> list[bytes]:
    if not isinstance(decode(text), kind):  # all of it, for what is incomplete has no parts
        raise ValueError(f"no {kind.__name__}")  # noqa: TRY004 - as for any other text that is not as it should be
    whole = text.decode("utf-8", "surrogateescape").strip()
    found: list[bytes] = []
    stop = 1
    while (begun := _start.match(whole, stop)) and (start := begun.start(1)) < len(whole) - 1:
        _, stop = _decoder.raw_decode(whole, start)
        found.append(whole[start:stop].encode("utf-8", "surrogateescape"))
    return found
