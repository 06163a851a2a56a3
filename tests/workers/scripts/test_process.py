"""The process that runs programs: it is replaced when it dies, and never outlives its worker."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubecdc.workers.scripts import process
from kubecdc.workers.scripts.process import Child, Interrupted, ScriptError
from kubecdc.workers.scripts.runner import Scripts
from tests.harness.processes import memory, until
from tests.workers.scripts.support import consuming, program
from tests.workers.support import event

ENDLESS = "last(range(1e12))"


@pytest.fixture(autouse=True)
def as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SECONDS", 60.0)


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    made = Child()
    yield made
    await made.close()


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return True


async def is_computing(child: Child) -> int:
    """Its pid, once it is confined and uses the CPU for a request."""

    def is_ready() -> bool:
        limits = Path(f"/proc/{child.pid}/limits")
        return child.pid is not None and re.search(r"Max open files +0 ", limits.read_text()) is not None

    def used() -> int:
        return int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2].split()[11])  # ticks of CPU

    await until(is_ready, 60, "a start")
    before = used()
    await until(lambda: used() > before + 2, 60, "a request")
    assert child.pid
    return child.pid


async def test_it_starts_with_the_first_program_and_ends_with_its_owner() -> None:
    async with Scripts() as scripts:
        assert scripts.pids == []
        await scripts.run(program("jq", "."), b"{}")
        (pid,) = scripts.pids
    assert is_gone(pid)
    assert scripts.pids == []


async def test_signals_to_the_group_of_the_worker_do_not_end_it(child: Child) -> None:
    await child.ask("jq", ".", b"{}")
    assert child.pid
    first = child.pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(first, number)
    assert (await child.ask("jq", ".", b"{}"))[0] == b"{}"
    assert child.pid == first


async def test_killed_in_the_middle_it_is_replaced_and_the_event_done(child: Child) -> None:
    await child.ask("jq", ".", b"{}")
    first = child.pid
    assert first
    os.kill(first, signal.SIGSTOP)  # it does not answer before it is killed
    asked = asyncio.create_task(child.ask("jq", ".a", b'{"a":{"b":1}}'))
    await until(lambda: child.waiting, 60, "the request")
    os.kill(first, signal.SIGKILL)
    assert (await asked)[0] == b'{"b":1}'
    assert child.pid != first


async def test_killed_while_it_is_idle_it_is_replaced(child: Child) -> None:
    await child.ask("jq", ".", b"{}")
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    assert (await child.ask("jq", ".", b"{}"))[0] == b"{}"


async def test_killed_twice_the_event_comes_back_and_that_is_an_attempt() -> None:
    async with Scripts() as scripts, consuming(scripts, {"jq": ENDLESS}) as consumer:
        delivery = consumer.subscription.give(event())
        quick = scripts._quick
        first = await is_computing(quick)
        os.kill(first, signal.SIGKILL)
        await until(lambda: quick.pid not in (None, first), 60, "another process")
        os.kill(await is_computing(quick), signal.SIGKILL)
        await asyncio.wait_for(delivery.settled.wait(), 60)
    assert delivery.calls == ["start", "nack"]
    assert delivery.kept
    assert delivery.kept.uncounted == 1


async def test_it_is_ended_with_what_is_cancelled_and_the_next_gets_its_own_answer(child: Child) -> None:
    asked = asyncio.create_task(child.ask("jq", ENDLESS, b"{}"))
    first = await is_computing(child)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert is_gone(first)
    assert (await child.ask("jq", ".", b'{"b":1}'))[0] == b'{"b":1}'


async def test_several_are_asked_at_once_and_each_gets_its_own_answer(child: Child) -> None:
    async def ask(number: int) -> None:
        data = b'{"n":%d,"x":"%s"}' % (number, b"y" * (number % 7 * 20_000))
        if number % 5:
            assert (await child.ask("jq", "{n}", data))[0] == b'{"n":%d}' % number
        else:
            with pytest.raises(ScriptError, match=f"number {number}$"):
                await child.ask("jq", 'error("number \\(.n)")', data)

    await asyncio.gather(*(ask(number) for number in range(200)))


@pytest.mark.parametrize("program", [ENDLESS, '[limit(1e9; repeat("xxxxxxxxxxxxxxxx"))] | length'])
async def test_those_behind_one_that_ends_the_process_are_done_by_the_next(
    child: Child, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await child.ask("jq", ".", b"{}")
    first = child.pid
    monkeypatch.setattr(process, "SECONDS", 1.0)
    bad = asyncio.create_task(child.ask("jq", program, b"{}"))
    await until(lambda: child.waiting, 60, "the program")
    behind = [child.ask("jq", ".", b'{"n":%d}' % number) for number in range(10)]
    assert [answer for answer, _ in await asyncio.gather(*behind)] == [b'{"n":%d}' % n for n in range(10)]
    with pytest.raises(ScriptError, match=r"it takes more than 1 s of CPU|it needs more than 128 MiB") as e:
        await bad
    assert e.value.has_ended
    assert child.pid != first


async def test_those_beside_one_that_is_cancelled_are_done_by_the_next(child: Child) -> None:
    asked = asyncio.create_task(child.ask("jq", ENDLESS, b"{}"))
    first = await is_computing(child)
    others = [asyncio.create_task(child.ask("jq", ".", b'{"n":%d}' % number)) for number in range(10)]
    await until(lambda: child.waiting == process.AHEAD, 60, "the others")
    asked.cancel()
    assert [answer for answer, _ in await asyncio.gather(*others)] == [b'{"n":%d}' % n for n in range(10)]
    assert is_gone(first)


async def test_one_that_is_frozen_is_replaced_and_it_is_no_fault_of_the_event(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    await child.ask("jq", ".", b"{}")
    assert child.pid
    frozen = child.pid
    os.kill(frozen, signal.SIGSTOP)
    with monkeypatch.context() as short, pytest.raises(Interrupted, match=r"did not answer within 0\.2 s"):
        short.setattr(process, "WAIT", 0.2)
        await child.ask("jq", ".", b"{}")
    assert is_gone(frozen)
    assert (await child.ask("jq", ".", b"{}"))[0] == b"{}"


@pytest.mark.parametrize("command", [["/nonexistent"], [sys.executable, "-c", "raise SystemExit('no such module')"]])
async def test_one_that_cannot_be_started_is_no_fault_of_the_event(
    child: Child, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "command", lambda: command)
    with pytest.raises(Interrupted, match=r"cannot be started: .*[Nn]o such (file|module)") as e:
        await child.ask("jq", ".", b"{}")
    assert e.value.ours


async def test_thousands_of_events_and_errors_leave_nothing_behind(child: Child) -> None:
    async def ask(number: int) -> None:
        data = b'{"n":%d,"x":"%s"}' % (number, b"y" * 20_000)
        assert (
            await child.ask(
                "lua", "event.t = {} for i = 1, 1000 do event.t[i] = i end event.t = nil return event", data
            )
        )[0]
        with pytest.raises(ScriptError):
            await child.ask("lua", "local t = {} for i = 1, 1000 do t[i] = {} end error(event.x)", data)

    for number in range(100):
        await ask(number)
    assert child.pid
    before = memory(child.pid)
    for number in range(300):
        await ask(number)
    assert memory(child.pid) - before < 4 * 1024 * 1024


ORPHAN = """
import asyncio, sys
from kubecdc.workers.scripts.process import Child

async def main():
    quick, slow = Child(), Child()
    await quick.ask("jq", ".", b"{}")
    await slow.ask("jq", ".", b"{}")
    print(quick.pid, slow.pid, flush=True)
    await slow.ask("lua", "while true do end", b"{}")

asyncio.run(main())
"""


async def test_a_worker_that_is_killed_leaves_no_process_idle_or_at_work() -> None:
    worker = subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE)
    assert worker.stdout
    try:
        idle, busy = map(int, (await asyncio.to_thread(worker.stdout.readline)).split())
        assert not is_gone(idle)
        assert not is_gone(busy)
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
    await until(lambda: is_gone(idle) and is_gone(busy), 60, "the end of both")
