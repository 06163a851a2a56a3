"""Standard streams that are closed, full, or without a reader: nothing but the log trigger needs them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubecdc.cli.streams import DROPPED, HELD_BYTES, Unread
from tests.apiserver import WORKFLOWS, LocalSimulator, simulator, workflow
from tests.cli.rig import HTTP, SOURCE
from tests.cli.started import Started
from tests.workers.peer import Peer, saying, serving

LINE = "x" * 999 + "\n"


def notice(lines: int) -> str:
    return f"{lines} were dropped\n"


class Pipe:
    """Both ends; each is closed once."""

    def __init__(self) -> None:
        read, write = os.pipe()
        self.read, self.write = os.fdopen(read, "rb", 0), os.fdopen(write, "wb", 0)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    with pipe.read, pipe.write:
        yield pipe


def read_until(pipe: Pipe, end: bytes) -> bytes:
    found = b""
    deadline = time.monotonic() + 10
    while not found.endswith(end):
        assert time.monotonic() < deadline, found[-200:]
        found += os.read(pipe.read.fileno(), 65536)
    return found


def test_what_nobody_reads_is_dropped_and_told_once_somebody_reads(pipe: Pipe) -> None:
    stream = Unread(pipe.write.fileno(), notice)
    lines = 3 * HELD_BYTES // len(LINE)
    begun = time.monotonic()
    for _ in range(lines):
        stream.write(LINE)
    stream.drain(0.0)
    assert time.monotonic() - begun < 5  # it would be forever
    text = read_until(pipe, b"were dropped\n")
    kept, told = text.count(LINE.encode()), int(text.splitlines()[-1].split()[0])
    assert kept + told == lines
    assert HELD_BYTES <= kept * len(LINE) + len(LINE) < 2 * HELD_BYTES + 2 * 65536
    stream.write("again\n")
    assert read_until(pipe, b"again\n") == b"again\n"


def test_without_a_reader_every_line_is_dropped_and_none_fails(pipe: Pipe) -> None:
    pipe.read.close()
    stream, counted = Unread(pipe.write.fileno(), notice), DROPPED.value
    for _ in range(3):
        stream.write(LINE)
        stream.drain(5)
    assert DROPPED.value == counted + 3
    again = Pipe()  # a reader comes back
    os.dup2(again.write.fileno(), pipe.write.fileno())
    stream.write("again\n")
    with again.read, again.write:
        assert read_until(again, b"dropped\n") == b"again\n3 were dropped\n"


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    async with simulator() as api:
        yield api


@pytest.fixture
async def refusing() -> AsyncIterator[Peer]:
    """A receiver whose every answer is a line in the log: a dead letter."""
    async with serving(saying(400, "x" * 150)) as peer:
        yield peer


async def received(peer: Peer, count: int, started: Started) -> None:
    async with asyncio.timeout(60):
        while len(peer.received) < count:
            assert started.process.poll() is None, f"it ended: {started.err}"
            await asyncio.sleep(0.05)


async def create(api: LocalSimulator, first: int, count: int) -> None:
    for number in range(first, first + count):
        await api.create(*WORKFLOWS, "default", workflow(f"o{number}"))


@pytest.mark.parametrize("what", ["nobody reads it", "its reader goes away", "both lose their readers", "2>&-", ">&-"])
async def test_no_state_of_the_streams_ends_or_delays_work(
    api: LocalSimulator, refusing: Peer, tmp_path: Path, pipe: Pipe, what: str
) -> None:
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text(SOURCE + "---\n" + HTTP.format(url=refusing.url))
    env = {"KUBECONFIG": str(api.kubeconfig(tmp_path / "kubeconfig"))}
    streams: dict[str, Any] = {"stderr": pipe.write} if not what.endswith("&-") else {}
    if what.startswith("both"):
        streams["stdout"] = pipe.write
    prefix = ("sh", "-c", f'exec "$@" {what}', "sh") if what.endswith("&-") else ()
    started = Started(tmp_path / "process", "run", "-f", str(manifests), env=env, prefix=prefix, **streams)
    try:
        pipe.write.close()
        await create(api, 0, 1)
        await received(refusing, 1, started)
        if "reader" in what:
            pipe.read.close()
        await create(api, 1, 250)  # each with its line: more than a pipe holds
        await received(refusing, 251, started)
        if what.endswith("&-"):  # no file of the bus may take its place
            closed = 2 if what.startswith("2") else 1
            assert Path(f"/proc/{started.pid}/fd/{closed}").readlink() == Path(os.devnull)
        started.term()
        assert await started.end() == 0
    finally:
        started.kill()


async def test_a_log_trigger_on_a_closed_stdout_is_retried(api: LocalSimulator, tmp_path: Path) -> None:
    manifests = tmp_path / "manifests.yaml"
    log = HTTP.replace('http: {{url: "{url}"}}', "log: {{}}").format()
    manifests.write_text(SOURCE + "---\n" + log)
    env = {"KUBECONFIG": str(api.kubeconfig(tmp_path / "kubeconfig"))}
    prefix = ("sh", "-c", 'exec "$@" >&-', "sh")
    started = Started(tmp_path / "process", "run", "-f", str(manifests), env=env, prefix=prefix)
    try:
        await create(api, 0, 1)
        await started.until("standard output cannot be written to")
        (line,) = [line for line in started.err.splitlines() if "cannot be written to" in line][:1]
        assert msgspec.json.decode(line)["event"] == "the trigger failed"
        started.term()
        assert await started.end() == 0
    finally:
        started.kill()
