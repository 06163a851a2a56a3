"""The next commit is made ready while one is under way, and no more than that is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kubecdc.cluster.changes import Change
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.objects import Meta
from kubecdc.storage.contracts import Term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.chunks import COMMIT_BYTES, chunks
from kubecdc.watcher.capture.entry import Entry, Origin
from kubecdc.watcher.pipeline import Watch
from kubecdc.watcher.session import Session
from tests.watcher.rig import KEY, NAME, SOURCE, event_source


class Stream:
    """An API server whose watch gives one change at a time, and then breaks. ``read``: how many were taken."""

    resource = None

    def __init__(self, changes: int) -> None:
        self.changes = changes
        self.read = 0

    async def watch(self, position: str, seconds: object, room: object) -> AsyncGenerator[list[Change]]:
        yield []
        for number in range(1, self.changes + 1):
            self.read = number
            meta = Meta(name=f"wf-{number}", namespace="default", uid=f"uid-{number}", resource_version=str(number))
            yield [Change("ADDED", meta, b"{}")]
        raise ApiError("the watch was cut")


class Commits:
    """A writer's commits, each as long as the test likes."""

    def __init__(self, under_way: int = 1) -> None:
        self.under_way = under_way
        self.entry = an_entry()
        self.session = SimpleNamespace(problems=None)
        self.state = SimpleNamespace(position="0", started="2026-01-01T00:00:00Z", timeline=0)
        self.prepared_position = self.state.position
        self.begun: list[str] = []
        self.done: list[str] = []
        self.may = asyncio.Semaphore(0)
        self.error: Exception | None = None

    def origin(self) -> Origin:
        return Origin(epoch=1, timeline=0, time="2026-01-01T00:00:00Z")

    async def bodies(self, uids: list[str]) -> dict[str, bytes]:
        return {}

    def prepare(self, events: object, *, position: str, **_: object) -> str:
        self.prepared_position = position
        return position

    async def commit_prepared(self, position: str) -> None:
        self.begun.append(position)
        await self.may.acquire()
        if self.error:
            raise self.error
        self.done.append(position)


def an_entry() -> Entry:
    manifest = event_source().spec.resource[NAME]
    return Entry(SOURCE, NAME, manifest, namespace="", key=KEY, max_event_bytes=1 << 20)


def watch_of(stream: Stream) -> Watch:
    session = Session(cast(Any, None), cast(Any, None), Term(1, "test"))
    return Watch(session, an_entry(), cast(Any, stream))


async def quiet(stream: Stream) -> None:
    """Wait until nothing more is read."""
    seen = -1
    while seen != stream.read:
        seen = stream.read
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.mark.parametrize("under_way", [1, 2])
async def test_a_commit_that_takes_long_lets_little_be_read_and_what_was_read_is_committed_in_order(
    under_way: int,
) -> None:
    stream, commits = Stream(50), Commits(under_way)
    following = asyncio.create_task(watch_of(stream).follow(cast(CheckpointWriter, commits)))
    await quiet(stream)
    assert commits.begun == ["1", "2"][:under_way] and stream.read <= under_way + 2
    for _ in range(50):
        commits.may.release()
    with pytest.raises(ApiError, match="cut"):
        await following
    assert commits.done == [str(number) for number in range(1, 51)], "all that came before the stream broke"


@pytest.mark.parametrize(("lines", "commits"), [(0, []), (1, [1]), (100, [100]), (101, [51, 50]), (250, [84, 84, 82])])
def test_what_came_together_is_cut_evenly(lines: int, commits: list[int]) -> None:
    changes = [Change("ADDED", Meta(), b"%d" % number) for number in range(lines)]
    pieces = list(chunks(changes, 100))
    assert [len(piece) for piece, _ in pieces] == commits
    assert [change for piece, _ in pieces for change in piece] == changes
    assert all(size == sum(len(change.body) for change in piece) for piece, size in pieces)


def test_a_commit_has_no_more_bytes_than_hold_a_shared_bus_for_some_milliseconds() -> None:
    sizes = [COMMIT_BYTES // 3] * 4 + [2 * COMMIT_BYTES] + [10] * 5 + [COMMIT_BYTES, 1]
    changes = [Change("ADDED", Meta(), b"x" * size) for size in sizes]
    pieces = list(chunks(changes, 100))
    assert [len(piece) for piece, _ in pieces] == [3, 1, 1, 5, 1, 1]
    assert [change for piece, _ in pieces for change in piece] == changes
    assert all(size == sum(len(change.body) for change in piece) for piece, size in pieces)


async def test_a_leader_that_is_fenced_ends_the_watch_at_once() -> None:
    stream, commits = Stream(50), Commits()
    commits.error = LeadershipLost("fenced")
    commits.may.release()
    with pytest.raises(LeadershipLost):
        await watch_of(stream).follow(cast(CheckpointWriter, commits))
    assert commits.done == []
