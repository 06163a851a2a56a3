"""The messages between the worker and the process that runs its programs. This imports nothing else of kubecdc."""

from __future__ import annotations

import struct
from typing import Literal

Kind = Literal["jq", "lua", "filter"]  # a jq program, a Lua script that makes an object, one that says yes or no
KINDS: tuple[Kind, ...] = ("jq", "lua", "filter")
# The kind, whether it is only compiled, the seconds of CPU that it may take; the lengths of program and data follow.
REQUEST = struct.Struct(">B?dII")
ANSWER = struct.Struct(">BI")  # how it ended, and the length of the result or the reason that follows
DONE, FAILED, LIMIT = range(3)  # LIMIT: it failed because of a limit, which is not in the program
READY = b"\n"  # the first byte of the process
LARGER = 256 * 1024  # bytes that a result may have more than the event's data


def request(kind: Kind, program: str, data: bytes | None, seconds: float) -> bytes:
    """What is sent before the data; without data, the program is only compiled."""
    text = program.encode()
    return REQUEST.pack(KINDS.index(kind), data is None, seconds, len(text), len(data or b"")) + text
