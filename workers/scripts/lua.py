"""Lua scripts, as `transform.script` and `filters.script` have them. Only the process of `child` imports this.

Each run has a Lua of its own: nothing of one event is left for the next. It is Lua 5.1, as in Argo Events.
"""

from __future__ import annotations

import json
import math
from typing import Any

from lupa import lua51

from kubecdc.workers.scripts.failed import Failed, Unreadable

MEMORY = 96 * 1024 * 1024  # bytes for the script itself: Lua ends in an error there, and the process goes on
BYTECODE = "\x1b"  # the first character of a compiled script, which Lua would run unchecked
_NESTED = {dict, list}
_PLAIN = {str, int, bool}
_TRACE = "\nstack traceback:"
_SPARSE = 8  # positions without a value that a list may have, if they are more than those with one
_KEPT = (
    "_G _VERSION assert error getmetatable ipairs math next pairs pcall rawequal rawget rawset select setmetatable "
    "string table tonumber tostring type unpack"
)
_PREPARE = f"""
local null, arrays, kept = newproxy(), {{__is_array = true}}, {{}}
for name in ("{_KEPT}"):gmatch("%S+") do kept[name] = true end
for name in pairs(_G) do if not kept[name] then _G[name] = nil end end
string.dump = nil
_G.null = null
function print() end
local getmetatable, setmetatable, rawget, type = getmetatable, setmetatable, rawget, type
local function array(t) return setmetatable(t, arrays) end
local function with_nulls(t, nulls) return setmetatable(t, {{__nulls = nulls}}) end
local function note(t, name)
  local m = getmetatable(t)
  return type(m) == "table" and rawget(m, name) or nil
end
local function is_null(v) return v == null end
local function set(event) _G.event = event end
return null, array, with_nulls, note, is_null, set
"""


class _Unfit(Exception):
    """Something that JSON does not have. ``path`` leads to it, from the inside out."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.path: list[str] = []


class _Lua:
    """One run of a script."""

    def __init__(self) -> None:
        self._runtime = lua51.LuaRuntime(
            register_eval=False, register_builtins=False, unpack_returned_tuples=True, max_memory=0
        )
        prepared = self._runtime.execute(_PREPARE)
        self._null, self._array, self._with_nulls, self._note, self._is_null, self._set = prepared
        self._has_nulls = False

    def compile(self, script: str) -> Any:
        if script.startswith(BYTECODE):
            raise Failed("it is compiled already: write it as text")
        try:
            return self._runtime.compile(script, name="=script")
        except lua51.LuaError as e:
            raise Failed(_said(e)) from None

    def run(self, script: str, data: bytes) -> Any:
        """What the script returns. Raises Failed."""
        function = self.compile(script)
        self._give(data)
        self._runtime.set_max_memory(MEMORY)
        try:
            returned = function()
        except lua51.LuaMemoryError:
            raise MemoryError from None
        except lua51.LuaError as e:
            raise Failed(_said(e)) from None
        except UnicodeDecodeError:
            raise Failed("it ends with text that is not UTF-8") from None
        finally:
            self._runtime.set_max_memory(0)
        return returned[0] if isinstance(returned, tuple) else returned

    def _give(self, data: bytes) -> None:
        try:
            self._set(self._given(json.loads(data)))
        except UnicodeEncodeError:
            raise Unreadable("the event has text that is not Unicode") from None
        except (OverflowError, ValueError):  # a number beyond 64 bits, or beyond all that Python reads
            self._set(self._given(json.loads(data, parse_int=float)))

    def _given(self, value: Any) -> Any:
        """JSON for Lua. ``null`` as a member is nil there, and known to `_object`; in an array it is ``null``."""
        if type(value) is dict:
            members = {k: self._given(v) if type(v) in _NESTED else v for k, v in value.items() if v is not None}
            table = self._runtime.table_from(members)
            if len(members) < len(value):
                self._has_nulls = True
                names = [k for k, v in value.items() if v is None]
                return self._with_nulls(table, self._runtime.table_from(names))
            return table
        if type(value) is list:
            items = [self._null if v is None else self._given(v) if type(v) in _NESTED else v for v in value]
            return self._array(self._runtime.table_from(items))
        return value

    def taken(self, value: Any) -> Any:
        """What Lua has as JSON. Raises _Unfit."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is float:
            if math.isfinite(value):
                return value
            raise _Unfit(f"the number {value}, which JSON does not have")
        name = lua51.lua_type(value)
        if name == "table":
            try:
                pairs = list(value.items())
            except UnicodeDecodeError:
                raise _Unfit("text that is not UTF-8") from None
            if not pairs and self._note(value, "__is_array") is True:
                return []
            return self._list(dict(pairs)) if pairs and type(pairs[0][0]) is int else self._object(value, pairs)
        if self._is_null(value):
            return None
        raise _Unfit(f"a {name}, which JSON does not have")

    def _list(self, found: dict[Any, Any]) -> list[Any]:
        if not all(type(key) is int for key in found):
            raise _Unfit("keys that are not text")
        length = max(found)
        if min(found) < 1 or length > 2 * len(found) + _SPARSE:
            raise _Unfit("numbers as keys that are not the positions of a list: use tostring")
        return [None if n not in found else self._member(n, found[n]) for n in range(1, length + 1)]

    def _object(self, table: Any, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        members = {}
        for key, value in pairs:
            if type(key) is not str:
                raise _Unfit("keys that are not text")
            members[key] = value if type(value) in _PLAIN else self._member(key, value)
        nulls = self._note(table, "__nulls") if self._has_nulls else None
        for name in nulls.values() if nulls else ():
            members.setdefault(name, None)
        return members

    def _member(self, key: str | int, value: Any) -> Any:
        try:
            return self.taken(value)
        except _Unfit as e:
            e.path.append(str(key))
            raise


def transform(script: str, data: bytes | None) -> bytes:
    """The object that a script returns; without data it is only compiled. Raises Failed."""
    lua = _Lua()
    if data is None:
        lua.compile(script)
        return b""
    returned = lua.run(script, data)
    if lua51.lua_type(returned) != "table":
        raise Failed(f"it returns {_kind(returned)}: it must return a table, such as `event`")
    try:
        result = lua.taken(returned)
    except _Unfit as e:
        raise Failed(f"its result has {e}" + (f", at {'.'.join(reversed(e.path))}" if e.path else "")) from None
    if not isinstance(result, dict):
        raise Failed("it returns a list: it must return a table with names, such as `event`")
    return json.dumps(result, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()  # as Go writes it


def holds(script: str, data: bytes | None) -> bytes:
    """``true`` or ``false``, as a script returns; nothing is false. Raises Failed."""
    lua = _Lua()
    if data is None:
        lua.compile(script)
        return b""
    returned = lua.run(script, data)
    if returned is not None and not isinstance(returned, bool):
        raise Failed(f"it returns {_kind(returned)}: it must return true or false")
    return b"true" if returned else b"false"


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    return {str: "text", bool: "true or false", int: "a number", float: "a number"}.get(
        type(value), f"a {lua51.lua_type(value)}"
    )


def _said(error: lua51.LuaError) -> str:
    return str(error).partition(_TRACE)[0] or "it raised an error that is not text"
