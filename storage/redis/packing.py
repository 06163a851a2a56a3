"""Commands packed for the wire in C. In Python that is most of what a script of a thousand arguments costs us."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

try:
    import hiredis
except ImportError:  # comes with `kubecdc[redis]`, but an installation may be without
    HIREDIS = False
else:
    HIREDIS = True


@dataclass(frozen=True, slots=True)
class Packed:
    """A command as it goes over the wire."""

    wire: bytes


def pack(*args: Any) -> Packed | None:
    """The command, packed; None where a connection has to do it."""
    return Packed(hiredis.pack_command(args)) if HIREDIS else None


class _Packing:
    """Mixed into a connection class of redis.asyncio, which of hiredis uses the reader alone."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name, *more = args  # the name may be two words: CLIENT SETNAME
        return [hiredis.pack_command((*name.split(), *more))]


@cache
def packing(kind: type) -> type:
    """The connection class, packing in C where it can."""
    return type(f"Packing{kind.__name__}", (_Packing, kind), {}) if HIREDIS else kind
