"""The scripts that run in Redis, from the files in ``lua/`` of a kind of bus and of all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

_ONE = r"[^\n]* end\n"  # of one line
_MORE = r".*?^end\n"
_FUNCTION = re.compile(rf"((?:^--[^\n]*\n)*^local function (\w+)\((?:{_ONE}|{_MORE}))", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"\w+")

Parts = Sequence[tuple[str, str, frozenset[str]]]
"""A prelude in pieces: the name of the function that each piece is, "" if it is none, its text and the words in it."""


@cache
def assembled(package: str, name: str) -> tuple[str, str]:
    """The source of a script, with the functions that it uses, and its digest as EVALSHA expects it."""
    own, shared = files(package) / "lua", files("kubecdc.storage.redis_server") / "lua"
    found = own / f"{name}.lua"
    text = (found if found.is_file() else shared / f"{name}.lua").read_text()
    source = with_used(_prelude(package), text)
    return source, hashlib.sha1(source.encode()).hexdigest()


@cache
def _prelude(package: str) -> Parts:
    own, shared = files(package) / "lua", files("kubecdc.storage.redis_server") / "lua"
    more = sorted(part.name for part in own.iterdir() if part.is_file() and part.name != "prelude.lua")
    preludes = [shared / "prelude.lua", own / "prelude.lua", *map(own.joinpath, more)]
    return parts("".join(prelude.read_text() for prelude in preludes))


def parts(prelude: str) -> Parts:
    """The functions of a prelude, and what is between them."""
    between, *rest = _FUNCTION.split(prelude)
    texts = [("", between)]
    for text, name, between in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        texts += [(name, text), ("", between)]
    return [(name, text, frozenset(_WORD.findall(text))) for name, text in texts]


def with_used(prelude: Parts, text: str) -> str:
    """A script after its prelude, without the functions of it that are not used, directly or by others.

    Redis makes all functions anew for each call of a script. That was a seventh of its work for a commit of one event.
    """
    used, kept = set(_WORD.findall(text)), [text]
    for name, part, words in reversed(prelude):  # each uses only those before it
        if not name or name in used:
            used |= words
            kept.append(part)
    return "".join(reversed(kept))
