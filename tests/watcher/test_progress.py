"""How far behind a watch is, by a clock of the test, and that the watch tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from kubecdc.watcher.capture import pages, relist
from kubecdc.watcher.capture.progress import HISTORY_SECONDS, Progress
from kubecdc.watcher.session import Session
from tests.apiserver import LocalSimulator
from tests.clock import Clock
from tests.exported import REGISTRY
from tests.watcher.rig import KEY, Rig, event_source, rig


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"kubecdc_{name}", {"watch": KEY})


def counted(name: str) -> float:
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == f"kubecdc_{name}_total" and sample.labels["watch"] == KEY
    )


def test_it_is_behind_from_the_first_change_that_waits_until_the_last_is_committed() -> None:
    clock = Clock()
    progress = Progress(clock)
    clock.now += 7
    assert progress.behind() == 7, "nothing has been read yet"
    progress.opened()
    assert progress.behind() == 0
    clock.now += 1000
    assert progress.behind() == 0, "a watch that is open and quiet"
    progress.came()
    progress.came()
    clock.now += 3
    progress.came()
    progress.committed()
    clock.now += 2
    assert progress.behind() == 5
    progress.committed()
    progress.committed()
    assert progress.behind() == 0
    progress.ended()
    clock.now += 11
    progress.ended()
    assert progress.behind() == 11, "no watch is open"


def test_ages_count_from_the_last_change_and_the_last_position() -> None:
    clock = Clock()
    progress = Progress(clock)
    assert progress.last_change_age() is None
    progress.stored(moved=True, changed=True)
    clock.now += 60
    progress.stored(moved=True, changed=False)  # a bookmark
    clock.now += 10
    assert (progress.last_change_age(), progress.position_age()) == (70, 10)
    assert progress.expires() == HISTORY_SECONDS - 10
    clock.now += HISTORY_SECONDS
    assert (progress.position_age(), progress.expires()) == (HISTORY_SECONDS + 10, 0)
    progress.renewed()
    assert (progress.position_age(), progress.expires()) == (HISTORY_SECONDS + 10, HISTORY_SECONDS)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clock]:
    """That of every session."""
    made = Clock()
    init = Session.__init__

    def with_clock(self: Session, *args: Any, **given: Any) -> None:
        init(self, *args, **{"now": made, **given})

    monkeypatch.setattr(Session, "__init__", with_clock)
    yield made


async def test_a_watch_says_how_far_behind_it_is_while_the_api_server_is_away(
    bench: Rig, clock: Clock, quick: None
) -> None:
    await bench.start()
    await bench.watching()
    await bench.create("a")
    assert len(await bench.events()) == 1
    await bench.until(lambda: told(gauge("watch_behind_seconds") == 0))
    clock.now += 40
    assert gauge("watch_behind_seconds") == 0
    assert gauge("watch_last_change_age_seconds") == 40
    assert gauge("watch_position_age_seconds") == 40
    assert gauge("checkpoint_expires_seconds") == HISTORY_SECONDS - 40
    restarts = counted("watch_restarts")

    bench.api.fail(503, path=".*")
    bench.api.cut_streams(mid_line=False)
    await bench.until(lambda: told(counted("watch_restarts") > restarts))
    clock.now += 50
    assert gauge("watch_behind_seconds") == 50
    assert gauge("watch_position_age_seconds") == 90
    assert gauge("checkpoint_expires_seconds") == HISTORY_SECONDS - 90
    bench.api.faults.failures.clear()
    await bench.create("b")
    assert len(await bench.events()) == 1
    await bench.until(lambda: told(gauge("watch_behind_seconds") == 0))
    await bench.until(lambda: told(cast(float, gauge("watch_position_age_seconds")) == 0))

    await bench.kill()
    assert gauge("watch_behind_seconds") is None, "a process that does not lead says nothing of it"


async def test_a_bus_that_is_full_is_time_behind_though_the_watch_is_open(
    api: LocalSimulator, tmp_path: Path, clock: Clock, quick: None
) -> None:
    async with rig(api, tmp_path, max_pending=1) as bench:
        await bench.start()
        await bench.watching()
        await bench.create("a")
        await bench.until(lambda: told(gauge("watch_last_change_age_seconds") == 0))
        begun = clock.now
        await bench.create("b")

        async def waits() -> bool:
            clock.now += 0.5
            return bool(gauge("watch_behind_seconds"))

        await bench.until(waits)
        assert gauge("watch_behind_seconds") <= clock.now - begun  # type: ignore[operator]
        before, clock.now = cast(float, gauge("watch_behind_seconds")), clock.now + 70
        assert gauge("watch_behind_seconds") == before + 70
        assert len(await bench.events()) == 2
        await bench.until(lambda: told(gauge("watch_behind_seconds") == 0))


async def told(found: bool) -> bool:
    await asyncio.sleep(0)
    return found


async def test_what_is_filtered_and_each_list_are_counted(bench: Rig, clock: Clock) -> None:
    filtered, relists = counted("changes_filtered"), counted("relists")
    await bench.start(event_source(eventTypes=["ADD", "DELETE"]))
    await bench.watching()
    await bench.create("a")
    for number in range(2):
        await bench.update("a", {"spec": {"n": number}})
    await bench.delete("a")
    assert len(await bench.events()) == 2
    assert counted("changes_filtered") == filtered + 2
    assert counted("relists") == relists + 1


@pytest.mark.parametrize("labels", [False, True])
async def test_a_list_that_takes_long_tells_how_far_it_is(
    bench: Rig, monkeypatch: pytest.MonkeyPatch, labels: bool
) -> None:
    monkeypatch.setattr(pages, "PAGE_OBJECTS", (2, 2))
    monkeypatch.setattr(relist, "PROGRESS_SECONDS", 0.0)
    for number in range(5):
        await bench.create(f"w{number}", labels={"app": "x"})
    selected: dict[str, Any] = {"filter": {"labels": [{"key": "app", "value": "x"}]}} if labels else {}
    with capture_logs() as lines:
        await bench.start(event_source(**selected))
        await bench.watching()
    told = [(line["objects"], line.get("of")) for line in lines if line.get("code") == "list-progress"]
    assert told == ([(2, None), (4, None)] if labels else [(2, 5), (4, 5)])
    assert all(line["per_second"] > 0 for line in lines if line.get("code") == "list-progress")
