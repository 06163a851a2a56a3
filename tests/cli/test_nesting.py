"""An event as deep as Kubernetes accepts: every command reads it, as the workers do."""

from __future__ import annotations

import json
import sys

import msgspec
import pytest

from kubecdc.cli.manifests.loading import load
from kubecdc.storage.contracts import Publication
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.opening import opened
from kubecdc.workers.plan import subscriptions
from tests.cli.rig import HTTP, Desk
from tests.storage.stores import opening
from tests.watcher.test_change import READABLE
from tests.workers.peer import saying, serving
from tests.workers.support import event, until

DEPTH = READABLE - 50  # there are some levels around it


def deep() -> Event:
    nested = b'{"a":' * DEPTH + b"1" + b"}" * DEPTH
    return msgspec.structs.replace(event(), data=msgspec.Raw(b'{"type":"ADD","body":' + nested + b"}"))


async def give_up(desk: Desk, about: Event) -> None:
    """The event becomes a dead letter of the Sensor."""
    manifests = load([str(desk.manifests)], stdin=sys.stdin)
    async with opened(manifests.buses["default"], opening("t")) as bus:
        await bus.register(subscriptions(manifests.sensors.values()))
        await bus.publisher.publish(Publication([about]))
        async for delivery in bus.subscription("post/send", prefetch=1).deliveries():
            await delivery.dead_letter("the peer was away")
            break


async def every_command_reads_it(desk: Desk) -> None:
    about = deep()
    file = desk.folder / "event.json"
    file.write_bytes(about.encode())
    async with serving(saying(200)) as peer:
        desk.write("sensor.yaml", HTTP.format(url=peer.url))
        await give_up(desk, about)
        for output in ("json", "yaml", "plain"):
            [letter] = await desk.rows("dlq", "list")
            shown = await desk.call("dlq", "show", str(letter["id"]), *([] if output == "plain" else ["-o", output]))
            assert shown.code == 0, shown.err
            assert shown.out.count('"a"' if output == "json" else "a") >= DEPTH
        for execute in ([], ["--execute"]):
            tried = await desk.call("try", "--event", str(file), *execute)
            assert (tried.code, tried.out.count('"a"')) == (0, DEPTH), tried.err
        redriven = await desk.call("dlq", "redrive", "--all")
        assert (redriven.code, redriven.out) == (0, "1 redriven\n"), redriven.err
        async with desk.running("work"):
            await until(lambda: len(peer.received) == 2)
        replayed = await desk.call("replay", "--subscription", "post/send", "--from", about.id, "--yes")
        assert (replayed.code, replayed.out) == (0, "1 event will be delivered to post/send again\n"), replayed.err
        async with desk.running("work"):
            await until(lambda: len(peer.received) == 3)
    assert {got.body for got in peer.received} == {bytes(about.data)}


@pytest.mark.long
async def test_every_command_reads_what_the_workers_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    await every_command_reads_it(desk)


@pytest.mark.long
async def test_every_command_reads_what_the_workers_read_on_redis(redis_desk: Desk) -> None:
    await every_command_reads_it(redis_desk)


async def test_what_is_too_deep_is_one_line(desk: Desk) -> None:
    file = desk.folder / "event.json"
    file.write_text(json.dumps({})[:-1] + '"id":"1","source":"workflows","subject":"changed","data":' + "[" * 200_000)
    desk.write("sensor.yaml", HTTP.format(url="http://127.0.0.1:1/"))
    done = await desk.call("try", "--event", str(file))
    assert (done.code, done.err.count("\n")) == (2, 2)
    assert "nested too deep" in done.err
