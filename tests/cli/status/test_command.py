"""`kubecdc status` as a user types it: exit codes, the command to run next, `-w`, and a bus that does not answer."""

from __future__ import annotations

import asyncio
import re
import shlex
import time

import msgspec
import pytest

from tests.cli import rig
from tests.cli.rig import HTTP, REDIS_BUS, SENSOR, Desk, Done
from tests.cli.silent import silent_server
from tests.workers.peer import saying, serving

EMBEDDED = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec: {sqlite: {path: bus.db}}
"""
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


async def test_bad_manifests_are_a_row_beside_those_of_the_rest(desk: Desk) -> None:
    desk.write("bus.yaml", EMBEDDED)
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"listed"')
        await until(desk, 0, "print/line")
        for name, text in (
            ("sensor.yaml", SENSOR.replace("triggers:", "triggrs:")),
            ("source.yaml", rig.SOURCE.replace("changed:", "changed")),
            ("other.yaml", SENSOR.replace("name: print", "name: other")),
        ):
            desk.write(name, text)
        await kubecdc.until('"manifests-unused"')
        done = await until(desk, 1, "process/")
        rows = {row["name"]: row for row in msgspec.json.decode((await desk.call("status", "-o", "json")).out)}
        assert (rows["manifests"]["verdict"], len(rows["manifests"]["problems"])) == ("failing", 2)
        cause = rows["manifests"]["cause"]
        assert cause.startswith(f"{desk.manifests}/source.yaml, document 1: is not YAML")
        assert cause.endswith("; and 1 more problem")
        other = rows["subscription/other/line"]
        assert other["cause"].endswith("no process uses these manifests while they have a problem")
        assert other["next"].startswith("kubecdc validate")
        assert f"next: kubecdc validate -f {desk.manifests}" in done.out
        assert {rows[name]["verdict"] for name in (SOURCE, "subscription/print/line", "bus/default")} <= {"ok", "idle"}

        shown = await desk.call("bus", "show", "-o", "json")
        assert (shown.code, [row["named"] for row in msgspec.json.decode(shown.out)]) == (0, ["unknown"])
        assert len(re.findall("^left out: ", shown.err, re.MULTILINE)) == 2
        for command in ("checkpoint show", "dlq list"):
            assert (await desk.call(*command.split())).code == 0
        assert (await desk.call("bus", "prune", "--yes")).code == 2
    desk.write("bus.yaml", EMBEDDED.replace("sqlite", "sqlight"))
    done = await desk.call("status")
    assert (done.code, done.out) == (2, ""), "nobody knows which bus it is"


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
