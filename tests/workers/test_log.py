"""The log trigger."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import pytest

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.outcome import Failure, Retry, Success
from kubecdc.workers.triggers.contract import json_line
from kubecdc.workers.triggers.log import lines
from kubecdc.workers.triggers.log.trigger import LogTrigger
from tests.workers.support import DATA, event, into, log_trigger, route


async def test_a_line_has_the_event_its_context_and_the_names() -> None:
    said: list[Mapping[str, object]] = []
    when = datetime(2026, 1, 31, 8, tzinfo=UTC)
    fields = {"team": "a", "sensor": "not this"}
    trigger = LogTrigger(fields=fields, render=into(said), wall=lambda: _nanoseconds(when))
    about = event(synthetic=True)
    assert await trigger.execute(route(trigger).request(about)) == Success()
    [line] = said
    assert {k: line[k] for k in ("team", "sensor", "trigger", "dependencyName")} == {
        "team": "a", "sensor": "s", "trigger": "t", "dependencyName": "dep",
    }  # fmt: skip
    assert line["timestamp"] == "2026-01-31T08:00:00.000000+00:00"
    assert [line[k] for k in ("level", "event")] == ["info", about.partitionkey]
    assert msgspec.json.decode(msgspec.json.encode(line["data"])) == DATA
    context = line["eventContext"]
    assert isinstance(context, dict)
    assert (context["id"], context["source"], context["subject"]) == (about.id, "workflows", "changed")
    assert (context["type"], context["time"], context["synthetic"]) == ("resource", about.time, True)
    assert "data" not in context


async def test_the_timestamp_of_each_line_is_its_own() -> None:
    said: list[Mapping[str, object]] = []
    times = [datetime(2026, 12, 31, 23, 59, second, micro, UTC) for second, micro in ((58, 1), (58, 20), (59, 3))]
    clock = map(_nanoseconds, times)
    trigger = LogTrigger(fields={}, render=into(said), wall=lambda: next(clock))
    for number in range(3):
        await trigger.execute(route(trigger).request(event(number)))
    assert [line["timestamp"] for line in said] == [each.isoformat() for each in times]


async def test_at_most_one_line_in_an_interval_and_the_next_says_how_many_were_left_out() -> None:
    said: list[Mapping[str, object]] = []
    times = iter((100.0, 101.0, 109.9, 110.0, 111.0, 120.5, 140.0))
    trigger = LogTrigger(fields={}, render=into(said), clock=lambda: next(times))
    request = route(trigger, {"template": {"name": "t", "log": {"intervalSeconds": 10}}}).request(event())
    for _ in range(7):
        assert await trigger.execute(request) == Success()
    assert [line.get("suppressed") for line in said] == [None, 2, 1, None]


async def test_without_an_interval_every_event_has_its_line() -> None:
    said: list[Mapping[str, object]] = []
    trigger = LogTrigger(fields={}, render=into(said), clock=lambda: 1.0)
    for number in range(3):
        await trigger.execute(route(trigger, log_trigger()).request(event(number)))
    assert len(said) == 3


async def test_an_event_whose_line_could_not_be_written_is_not_counted_as_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(text: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(lines, "STDOUT", lines.Lines(broken))
    trigger = LogTrigger(fields={}, clock=lambda: 1.0)
    request = route(trigger, {"template": {"name": "t", "log": {"intervalSeconds": 10}}}).request(event())
    for _ in range(2):
        assert await trigger.execute(request) == Retry("standard output cannot be written to: BrokenPipeError")


async def test_a_reader_that_does_not_read_stops_the_lines_alone_and_none_is_written_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading = threading.Event()
    written: list[str] = []

    def blocked(text: bytes) -> int:
        reading.wait()
        written.extend(_ids(text))
        return len(text)

    monkeypatch.setattr(lines, "STDOUT", lines.Lines(blocked))
    monkeypatch.setattr(lines, "DEADLINE", 0.05)
    trigger = LogTrigger(fields={})
    route_ = route(trigger, log_trigger())
    for number in range(3):
        assert isinstance(await trigger.execute(route_.request(event(number))), Retry)
    reading.set()
    assert await trigger.execute(route_.request(event(3))) == Success()
    assert written == [event(0).id, event(3).id], "only what had begun"


@pytest.mark.parametrize("kernel", ["this", "before Linux 6.4"])
async def test_a_full_pipe_blocks_nothing_and_lines_come_whole_and_in_order(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel != "this":
        monkeypatch.setattr("os.pwritev", _not_supported)
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb", buffering=0) as out, os.fdopen(reader, "rb") as pipe:
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr(lines, "STDOUT", lines.Lines())
        trigger = LogTrigger(fields={"padding": "x" * 30_000})
        requests = [route(trigger, log_trigger()).request(event(number)) for number in range(8)]
        running = [asyncio.create_task(trigger.execute(request)) for request in requests]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        assert running[0].done() and not running[-1].done(), "the pipe takes the first, and is full before the last"
        came = [await asyncio.to_thread(pipe.readline) for _ in requests]
        assert await asyncio.gather(*running) == [Success()] * 8
    assert _ids(b"".join(came)) == [event(number).id for number in range(8)]


async def test_a_reader_that_is_gone_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as out:
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr(lines, "STDOUT", lines.Lines())
        trigger = LogTrigger(fields={})
        outcome = await trigger.execute(route(trigger, log_trigger()).request(event()))
    assert outcome == Retry("standard output cannot be written to: Broken pipe")


async def test_data_that_cannot_be_read_is_a_failure() -> None:
    trigger = LogTrigger(fields={})
    broken = Event.decode(event().encode().replace(b"w1", b"w\xff"))
    assert isinstance(await trigger.execute(route(trigger).request(broken)), Failure)


async def test_lines_that_gather_while_one_is_written_go_together_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, reading = threading.Event(), threading.Event()
    calls: list[list[str]] = []

    def slow(text: bytes) -> int:
        begun.set()
        reading.wait()
        calls.append(_ids(text))
        return len(text)

    monkeypatch.setattr(lines, "STDOUT", lines.Lines(slow))
    trigger = LogTrigger(fields={})
    requests = [route(trigger, log_trigger()).request(event(number)) for number in range(4)]
    first = asyncio.create_task(trigger.execute(requests[0]))
    await asyncio.to_thread(begun.wait)
    others = [asyncio.create_task(trigger.execute(request)) for request in requests[1:]]
    await asyncio.sleep(0)  # they are all on their way
    reading.set()
    assert await asyncio.gather(first, *others) == [Success()] * 4
    assert calls == [[event(0).id], [event(1).id, event(2).id, event(3).id]]


async def test_data_with_line_breaks_between_its_tokens_is_one_line() -> None:
    said: list[Mapping[str, object]] = []
    spread = msgspec.json.format(event().encode(), indent=2).replace(b"\n", b"\r\n")
    trigger = LogTrigger(fields={}, render=into(said))
    assert await trigger.execute(route(trigger).request(Event.decode(spread))) == Success()
    text = msgspec.json.encode(said[0])
    assert b"\n" not in text and b"\r" not in text
    assert msgspec.json.decode(text)["data"] == DATA


async def test_a_line_on_stdout_is_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    for record in ({"a": "ü\n", "b": {"c": [1]}}, {"a": 2}):
        await lines.STDOUT.write(json_line(record))
    first, second = capfd.readouterr().out.splitlines()
    assert json.loads(first) == {"a": "ü\n", "b": {"c": [1]}}
    assert json.loads(second) == {"a": 2}


def _not_supported(*_: object) -> int:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


def _nanoseconds(when: datetime) -> int:
    return int(when.timestamp()) * 10**9 + when.microsecond * 1000


def _ids(text: bytes) -> list[str]:
    return [json.loads(line)["eventContext"]["id"] for line in text.splitlines()]
