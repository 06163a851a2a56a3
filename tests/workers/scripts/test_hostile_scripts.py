"""Whatever a program does, it costs at most its own event. The loop, other triggers and memory do not notice."""

# ruff: noqa: E501 - the tables have a line for each case

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

import pytest

from kubecdc.workers.scripts import process, program
from kubecdc.workers.scripts.frames import Kind
from kubecdc.workers.scripts.process import ScriptError
from kubecdc.workers.scripts.runner import Scripts
from tests.harness.heartbeat import heartbeat
from tests.harness.processes import memory
from tests.workers.scripts import support
from tests.workers.scripts.support import QUICK, consuming
from tests.workers.support import event

FEW_MILLISECONDS = 0.1  # seconds of CPU: ten times what a turn takes
SECONDS = 0.2
MOST = 192 * 1024 * 1024  # bytes of a process: what it may take, and what it has at its start
SLOW = "it takes more than 0.2 s of CPU"
LARGE = "it needs more than 128 MiB of memory"
LARGE_OR_SLOW = "it needs more than 128 MiB of memory|it takes more than 0.2 s of CPU"
CRASH = r"it crashed its interpreter \(SIG(SEGV|BUS)\)"
TABLE = "it needs more memory than it may have|it takes more than 0.2 s of CPU"
RESULT = r"its result has \d+ bytes: at most 256 KiB more than the event are kept"

JQ = {
    "an endless range": ("last(range(1e12))", SLOW),
    "an endless loop": ("def f: f; f", SLOW),
    "an endless repetition": ("[limit(1e12; repeat(1))]", LARGE_OR_SLOW),
    "an array without end": ("[range(1e12)]", LARGE_OR_SLOW),
    "a recursion": ("def f: 1 + f; f", LARGE_OR_SLOW),
    "doubled text": ('{a: (reduce range(60) as $i ("x"; . + .))}', LARGE_OR_SLOW),
    "repeated text": ('{a: ("x" * 100000000 | . + . + .)}', LARGE_OR_SLOW),
    "a far index": ("{a: ([] | .[400000000] = 1)}", "Array index too large|" + LARGE_OR_SLOW),
    "a large result": ('{a: ("x" * 300000)}', RESULT),
    "a pattern that backtracks": ('{a: ("a" * 40 + "b" | test("^(a+)+$"))}', "retry-limit-in-match|" + SLOW),
    "a deep result": ("{a: (reduce range(20000) as $i (1; [.]))}", "nested too deep|" + SLOW),
    "a long reason": ('error("x" * 1000000)', "xxx"),
    "a file": ('import "passwd" as $x {search: "/etc"}; {a: $x}', "module not found"),
    "the end": ('"x" | halt_error', "it gives no result"),
}  # fmt: skip
LUA = {
    "an endless loop": ("while true do end", SLOW),
    "an endless loop behind pcall": ("while true do pcall(function() while true do end end) end", SLOW),
    "a pattern that backtracks": ('return string.find(string.rep("a", 30000), ".-.-.-.-.-b")', SLOW),
    "a pattern that overflows the stack": ('return ("a"):rep(4e5):find(("a?"):rep(4e5))', CRASH + "|" + SLOW),
    "repeated text": ('return string.rep("x", 1e9)', TABLE),
    "doubled text": ('local s = "x" while true do s = s .. s end', TABLE),
    "a table without end": ("local t = {} for i = 1, 1e12 do t[i] = {i} end", TABLE),
    "a table of long text": ('local t = {} while true do t[#t + 1] = string.rep("x", 1000) .. #t end', TABLE),
    "a recursion": ("local function f() return 1 + f() end return f()", "stack overflow"),
    "a recursion in C": ("local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x", "stack overflow"),
    "many captures": ('return ("x"):find(string.rep("(", 250) .. "a" .. string.rep(")", 250))', "too many captures"),
    "a wide format": ('return string.format("%99999d", 1)', "invalid format"),
    "many results": ("return unpack({}, 1, 1e8)", "too many results to unpack"),
    "an order that is none": ("local t = {} for i = 1, 1e4 do t[i] = i % 7 end table.sort(t, function() return true end)", "invalid order function"),
    "a large result": ('return {a = string.rep("x", 300000)}', RESULT),
    "a result that contains itself": ("local t = {} t.t = t return t", "nested too deep, or contain themselves"),
    "a result full of tables": ("local t = {} for i = 1, 1e6 do t[i] = {} end return {a = t}", f"{RESULT}|{TABLE}|{LARGE}"),
    "no number": ("return {a = 0 / 0}", "the number nan"),
    "no text": ('return {a = "\\255"}', "not UTF-8"),
    "os": ('os.execute("true")', "attempt to index global 'os'"),
    "io": ('io.open("/etc/passwd")', "attempt to index global 'io'"),
    "a long reason": ('error(string.rep("x", 1000000))', "xxx"),
    "an unprintable reason": ('error("\\27[2J\\n")', "script:1"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("field", "cases"), [("jq", JQ), ("script", LUA)], ids=["jq", "Lua"])
async def test_a_program_costs_one_dead_letter_at_most(
    field: str, cases: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SECONDS", SECONDS)
    monkeypatch.setattr(program, "problem", lambda *_: "")
    wrong: dict[str, str] = {}
    async with Scripts() as scripts, consuming(scripts, QUICK) as other, heartbeat() as beat:
        await other.subscription.settled(event())
        before = memory(os.getpid())
        for name, (text, reason) in cases.items():
            async with consuming(scripts, {field: text}) as consumer:
                (hostile,), others = await asyncio.gather(
                    consumer.subscription.settled(event()),
                    other.subscription.settled(*(event(n, key=str(n)) for n in range(5))),
                )
            assert [delivery.last for delivery in others] == ["ack"] * 5
            if hostile.last != "dead_letter" or not re.match(f"transform.{field}: .*({reason})", hostile.reason):
                wrong[name] = f"{hostile.last}: {hostile.reason}"
            assert hostile.reason.isprintable()
            assert all(memory(pid, peak=True) < MOST for pid in scripts.pids)
        grown = memory(os.getpid()) - before
    assert wrong == {}
    assert beat.longest < FEW_MILLISECONDS
    assert grown < 32 * 1024 * 1024


async def test_what_has_run_away_once_holds_up_its_like_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SECONDS", SECONDS)
    async with Scripts() as scripts:
        endless, quick = support.program("lua", "while true do end"), support.program("jq", ".")
        await scripts.run(quick, b"{}")
        (first,) = scripts.pids
        with pytest.raises(ScriptError, match=r"more than 0\.2 s of CPU"):
            await scripts.run(endless, b"{}")
        assert await scripts.run(quick, b"{}") == b"{}"
        (second,) = scripts.pids
        assert second != first
        monkeypatch.setattr(process, "SECONDS", 60.0)
        again = asyncio.create_task(scripts.run(endless, b"{}"))
        assert await scripts.run(quick, b"{}") == b"{}"
        assert not again.done()
        assert second in scripts.pids
        again.cancel()
        with pytest.raises(asyncio.CancelledError):
            await again
        assert scripts.pids == [second]


async def test_neither_environment_nor_files_nor_connections() -> None:
    async with Scripts() as scripts:
        said = await scripts.run(support.program("jq", "{env: env, all: $ENV, zone: (0 | localtime | mktime)}"), b"{}")
        assert json.loads(said) == {"env": {}, "all": {}, "zone": 0}
        (pid,) = scripts.pids
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max open files +0 +0 ", limits)
        assert re.search(r"Max file size +0 +0 ", limits)
        assert re.search(r"Max core file size +0 +0 ", limits)
        assert Path(f"/proc/{pid}/environ").read_bytes() == b""
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) == 3
        with pytest.raises(ScriptError, match="module not found"):
            await scripts.run(support.program("jq", 'import "passwd" as $x {search: "/etc"}; {a: $x}'), b"{}")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["jq", "lua"])
async def test_an_event_of_three_megabytes_is_transformed(kind: Kind) -> None:
    text = ".a = 1" if kind == "jq" else "event.a = 1 return event"
    body = {
        "items": [{"name": f"n{n}", "labels": {"app": "x" * 20}, "ports": [80, n], "on": True} for n in range(35_000)]
    }
    data = json.dumps(body).encode()
    assert len(data) > 3_000_000
    async with Scripts() as scripts, heartbeat() as beat:
        said = await scripts.run(support.program(kind, text), data)
    assert json.loads(said) == {**body, "a": 1}
    assert beat.longest < FEW_MILLISECONDS
