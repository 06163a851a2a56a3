"""What programs in jq and Lua make of an event, without the process that they run in."""

# ruff: noqa: E501 - the tables have a line for each case

from __future__ import annotations

import json

import pytest

from kubecdc.workers.scripts import jq, lua
from kubecdc.workers.scripts.failed import Failed

ODD = '{"n":null,"list":[1,null,[2,[]]],"none":[],"empty":{},"f":1.5,"t":true,"text":"é\\u0000","deep":{"n":null}}'

JQ = [
    (".a += 1 | .b *= 2", '{"a":1,"b":"2"}', '{"a":2,"b":"22"}'),  # Argo's own
    (".body.message *= 2", '{"body":{"message":"ab"}}', '{"body":{"message":"abab"}}'),
    (".", ODD, ODD),
    (".", '{"big":123456789012345678901234567890,"small":1.10}', '{"big":123456789012345678901234567890,"small":1.10}'),
    ("{a: 1}, {a: 2}", "{}", '{"a":1}'),
    ("def twice: . * 2; {a: .a | twice} # done", '{"a":2}', '{"a":4}'),
    ("{a: nan}", "{}", '{"a":null}'),
    ("{a: (.x.y.z // \"none\")}", "{}", '{"a":"none"}'),
    ("{a: [.[]?]}", "[1]", '{"a":[1]}'),
]  # fmt: skip
JQ_FAILS = [
    ("empty", "{}", "it gives no result"),
    ("halt", "{}", "it gives no result"),
    (".a", '{"a":1}', "its first result is a number: it must be an object"),
    ("[.]", "{}", "its first result is an array: it must be an object"),
    (".a", "{}", "its first result is null: it must be an object"),
    ('error("boom")', "{}", "boom"),
    (".a.b", '{"a":1}', "Cannot index number with string"),
    ("input", "{}", "break"),
    (".", '{"a":"\\ud800"}', "surrogate pair"),
    (".", '{"a":' + "[" * 12_000 + "]" * 12_000 + "}", "Exceeds depth limit"),
]
JQ_BROKEN = [
    ("foo(", "line 1, column 4: syntax error, unexpected end of file"),
    (".a |\n nothing", "line 2, column 2: nothing/0 is not defined"),
    ('import "x" as $x; .', "module not found: x"),
    ("1) | (2", "line 1, column 2: syntax error"),
    ("def f: 1;", "Top-level program not given"),
]

LUA = [
    ("event.c.d[1]=4\nreturn event", '{"a":1,"b":"2","c":{"d":[3]}}', '{"a":1,"b":"2","c":{"d":[4]}}'),  # Argo's own
    ("event.env = setmetatable({}, { __is_array = true })\nreturn event", '{"env":123}', '{"env":[]}'),  # Argo's own
    ("event.body.message='updated'\nreturn event", '{"body":{"message":1}}', '{"body":{"message":"updated"}}'),
    ("return event", ODD, ODD),
    ("return {is = event.n == nil, deep = event.deep.n == nil}", ODD, '{"is":true,"deep":true}'),
    ("return {n = #event.list, isnull = event.list[2] == null}", ODD, '{"n":3,"isnull":true}'),
    ("event.n = 1 event.a = null return event", '{"n":null}', '{"n":1,"a":null}'),
    ("event.a = {} return event", "{}", '{"a":{}}'),
    ("event.a[1] = nil return event", '{"a":[1]}', '{"a":[]}'),
    ("table.insert(event.a, {b = {1, 2}}) return event", '{"a":[]}', '{"a":[{"b":[1,2]}]}'),
    ("return {a = {1, nil, 3}}", "{}", '{"a":[1,null,3]}'),
    ("return {a = event.a, b = 7 / 2, c = 8 / 2, d = 2^53}", '{"a":9007199254740991}', '{"a":9007199254740991,"b":3.5,"c":4,"d":9007199254740992}'),
    ("return event", '{"a":123456789012345678901234567890}', '{"a":1.2345678901234568e+29}'),
    ("return {v = _VERSION, u = (unpack({1})), s = ('x'):rep(3)}", "{}", '{"v":"Lua 5.1","u":1,"s":"xxx"}'),
    ("return {ok = pcall(error, 'x')}", "{}", '{"ok":false}'),
    ("print('x') return event", "{}", "{}"),
    ("return event, 1", "{}", "{}"),
    ("return {n = #event}", "[1,2]", '{"n":2}'),
    ("return {s = event.s:upper()}", '{"s":"abc"}', '{"s":"ABC"}'),
]  # fmt: skip
LUA_FAILS = [
    ('return "hello"', "it returns text: it must return a table, such as `event`"),  # Argo's own
    ("local x = event", "it returns nothing: it must return a table, such as `event`"),
    ("return {1, 2}", "it returns a list: it must return a table with names, such as `event`"),
    ("return event.a.b", "script:1: attempt to index field 'a' (a nil value)"),
    ("\n\nerror('boom')", "script:3: boom"),
    ("error({})", "it raised an error that is not text"),
    ("return {a = 0/0}", "its result has the number nan, which JSON does not have, at a"),
    ("return {a = {b = -1/0}}", "its result has the number -inf, which JSON does not have, at a.b"),
    ('return {a = "\\255"}', "its result has text that is not UTF-8"),
    ('return {["\\255"] = 1}', "its result has text that is not UTF-8"),
    ('return "\\255"', "it ends with text that is not UTF-8"),
    ("return {a = {print}}", "its result has a function, which JSON does not have, at a.1"),
    ("return {1, a = 2}", "its result has keys that are not text"),
    ("return {[true] = 2}", "its result has keys that are not text"),
    ("return {a = {[404] = 'x'}}", "its result has numbers as keys that are not the positions of a list: use tostring, at a"),
    ("return {a = {[0] = 'x'}}", "its result has numbers as keys that are not the positions of a list: use tostring, at a"),
    ('return {a = string.rep("x", 1e9)}', None),
]  # fmt: skip
MISSING = (
    "os io load loadstring loadfile dofile require package module debug coroutine xpcall getfenv setfenv newproxy "
    "collectgarbage python string.dump"
)
HOLDS = [
    ('if event.body.a == "b" and event.body.d.e == "z" then return true else return false end', True),  # Argo's own
    ("return event.body.c > 10", False),
    ("if event.body.c > 10 then return true end", False),
]


@pytest.mark.parametrize(("program", "data", "result"), JQ)
def test_jq(program: str, data: str, result: str) -> None:
    assert jq.run(program, data.encode()).decode() == result


@pytest.mark.parametrize(("program", "data", "reason"), JQ_FAILS, ids=str)
def test_jq_that_fails(program: str, data: str, reason: str) -> None:
    with pytest.raises(Failed) as e:
        jq.run(program, data.encode())
    assert reason in str(e.value)


@pytest.mark.parametrize(("program", "reason"), JQ_BROKEN)
def test_jq_that_cannot_be_compiled(program: str, reason: str) -> None:
    with pytest.raises(Failed) as e:
        jq.run(program, None)
    assert str(e.value).startswith(reason)
    assert "\n" not in str(e.value)


def test_what_jq_leaves_out_is_a_failure() -> None:
    said = jq.run('{a: "<skipped: too deep>"}', b"{}")
    assert json.loads(said) == {"a": "<skipped: too deep>"}
    with pytest.raises(RecursionError):
        jq.run("{a: (reduce range(12000) as $i (1; [.]))}", b"{}")


@pytest.mark.parametrize(("script", "data", "result"), LUA)
def test_lua(script: str, data: str, result: str) -> None:
    assert json.loads(lua.transform(script, data.encode())) == json.loads(result)


@pytest.mark.parametrize(("script", "reason"), LUA_FAILS)
def test_lua_that_fails(script: str, reason: str | None) -> None:
    with pytest.raises(Failed if reason else MemoryError) as e:
        lua.transform(script, b"{}")
    assert str(e.value) == (reason or "")


@pytest.mark.parametrize("name", MISSING.split())
def test_what_lua_lacks_on_purpose(name: str) -> None:
    with pytest.raises(Failed, match="returns nothing"):
        lua.transform(f"return {name}", b"{}")


def test_nothing_of_one_event_is_left_for_the_next() -> None:
    lua.transform("x = 1 string.rep = nil getmetatable('').__index.len = nil return event", b"{}")
    said = lua.transform("return {x = x == nil, rep = ('a'):rep(2), len = ('a'):len()}", b"{}")
    assert json.loads(said) == {"x": True, "rep": "aa", "len": 1}


@pytest.mark.parametrize(("script", "result"), HOLDS)
def test_a_lua_filter(script: str, result: bool) -> None:
    data = b'{"body":{"a":"b","c":10,"d":{"e":"z"}}}'
    assert json.loads(lua.holds(script, data)) is result


def test_a_lua_filter_says_true_or_false() -> None:
    with pytest.raises(Failed, match="it returns text: it must return true or false"):
        lua.holds("return 'yes'", b"{}")


@pytest.mark.parametrize("run", [lua.transform, lua.holds])
def test_lua_that_cannot_be_compiled(run: object) -> None:
    assert callable(run)
    assert run("return", None) == b""
    with pytest.raises(Failed, match="script:2: unexpected symbol near '='"):
        run("\nlocal x = = 1", None)
    with pytest.raises(Failed, match="compiled already"):
        run("\x1bLuaQ", None)


def test_text_of_an_event_that_is_not_unicode_is_named() -> None:
    with pytest.raises(Failed, match="the event has text that is not Unicode"):
        lua.transform("return event", b'{"a":"\\ud800"}')


@pytest.mark.parametrize("data", [b'{"a":' + b"9" * 5_000 + b"}", b'{"a":1e999}'])
def test_numbers_beyond_those_of_lua_are_not_made_up(data: bytes) -> None:
    with pytest.raises(Failed, match="has the number inf"):
        lua.transform("return event", data)
