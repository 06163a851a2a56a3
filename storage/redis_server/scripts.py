"""The scripts that run in Redis, from the files in ``lua/`` of a kind of bus and of all."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files

_ONE = r"[^\n]* end\n"  # of one line
_MORE = r".*?^end\n"
_FUNCTION = re.compile(rf"^(?:--[^\n]*\n)*local function (\w+)\((?:{_ONE}|{_MORE})", re.MULTILINE | re.DOTALL)


@cache
def assembled(package: str, name: str) -> tuple[str, str]:
    """The source of a script, with the functions that it uses, and its digest as EVALSHA expects it."""
    own, shared = files(package) / "lua", files("kubecdc.storage.redis_server") / "lua"
    found = own / f"{name}.lua"
    more = sorted(part.name for part in own.iterdir() if part.is_file() and part.name != "prelude.lua")
    preludes = [shared / "prelude.lua", own / "prelude.lua", *map(own.joinpath, more)]
    text = (found if found.is_file() else shared / f"{name}.lua").read_text()
    source = with_used("".join(prelude.read_text() for prelude in preludes), text)
    return source, hashlib.sha1(source.encode()).hexdigest()


def with_used(prelude: str, text: str) -> str:
    """A script after its prelude, without the functions of it that are not used, directly or by others.

    Redis makes all functions anew for each call of a script. That was a seventh of its work for a commit of one event.
    """
    for function in reversed(list(_FUNCTION.finditer(prelude))):  # each uses only those before it
        if not re.search(rf"\b{function[1]}\b", prelude[function.end() :] + text):
            prelude = prelude[: function.start()] + prelude[function.end() :]
    return prelude + text
