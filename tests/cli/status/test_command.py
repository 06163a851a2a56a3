"""`kubecdc status` as a user types it: exit codes, the command to run next, `-w`, and a bus that does not answer."""

from __future__ import annotations

import asyncio
import re
import shlex
import time

import pytest

from tests.cli.rig import HTTP, REDIS_BUS, Desk, Done
from tests.cli.silent import silent_server
from tests.workers.peer import saying, serving

COLUMNS = ["VERDICT", "NAME", "BEHIND", "PENDING", "IN/S", "OUT/S", "DEAD"]
SOURCE, SUBSCRIPTION = "source/workflows/changed", "subscription/post/send"


async def until(desk: Desk, code: int, text: str) -> Done:
    """Call it until it ends with that code and says that."""
    async with asyncio.timeout(120):
        while True:
            done = await desk.call("status")
            if done.code == code and text in done.out:
                return done
            await asyncio.sleep(1)


@pytest.mark.long
async def test_it_says_what_is_wrong_and_what_to_type_and_its_exit_code_whether_somebody_has_to(desk: Desk) -> None:
    async with serving(saying(400, "no")) as peer:
        desk.write("sensor.yaml", HTTP.format(url=peer.url))
        async with desk.running("run") as kubecdc:
            await kubecdc.until('"listed"')
            await until(desk, 0, "idle      subscription/post/send")
            await desk.create("a")
            await kubecdc.until('"dead letter"')
            done = await until(desk, 1, "it has dead letters")
            _, worst, cause, next_, *_ = done.out.splitlines()
            assert worst.startswith(f"failing   {SUBSCRIPTION}")
            assert cause.startswith("          cause: it has dead letters")
            typed = shlex.split(next_.removeprefix("          next: "))
            assert typed == ["kubecdc", "dlq", "list", "--subscription", "post/send", "-f", str(desk.manifests)]
            assert "post/send" in (await desk.call(*typed[1:], manifests=False)).out
    done = await desk.call("status", "-o", "name")
    assert done.out.splitlines() == [SOURCE, SUBSCRIPTION, "bus/default"]


async def test_a_bus_that_is_not_there_is_a_verdict_and_manifests_that_are_not_are_a_usage_error(desk: Desk) -> None:
    assert (await desk.call("status", manifests=False)).code == 2
    done = await desk.call("status")
    assert (done.code, done.err) == (1, "")
    lines = done.out.splitlines()
    assert re.split("   +", lines[0]) == COLUMNS
    assert lines[1].startswith("blocked   bus/default")
    assert lines[2].startswith("          cause: there is no bus at")


async def test_with_w_it_follows_from_before_the_bus_is_there(desk: Desk) -> None:
    async with desk.running("status", "-w", logs=False) as following:
        await following.until("blocked +bus/default", out=True)
        async with desk.running("run") as kubecdc:
            await kubecdc.until('"listed"')
            await following.until(f"(ok|idle) +{SOURCE}", out=True)
        await following.until(f"blocked +{SOURCE} .*\\n +cause: nobody leads", out=True)
        assert following.out.count("VERDICT") == 1


@pytest.mark.long
async def test_a_bus_that_does_not_answer_is_the_verdict(desk: Desk) -> None:
    async with silent_server() as silent:
        desk.write("bus.yaml", REDIS_BUS.format(url=f"redis://127.0.0.1:{silent.port}"))
        begun = time.monotonic()
        done = await desk.call("status")
        assert (done.code, done.err) == (1, "")
        assert "the bus has not answered within 5 s" in done.out
        assert time.monotonic() - begun < 60
