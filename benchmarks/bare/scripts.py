"""jq or Lua for each line of standard input, without limits, and with one Lua for all lines."""

from __future__ import annotations

import json
import sys

import jq
from lupa import lua51


def main(language: str, program: str) -> None:
    """Write a line for each."""
    compiled = jq.compile(program) if language == "jq" else None
    lua = lua51.LuaRuntime()
    function = lua.eval(f"function(event) {program} end") if language == "lua" else None
    for line in sys.stdin.buffer:
        if compiled:
            result = next(iter(compiled.input_text(line.decode())))
        elif function:
            result = function(lua.table_from(json.loads(line), recursive=True))
        sys.stdout.buffer.write(json.dumps(result).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
