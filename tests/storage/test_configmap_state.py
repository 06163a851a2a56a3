"""State in a ConfigMap: writes that are shared, other processes that write too, and what becomes of it meanwhile."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from kubecdc.errors import Refused, Unavailable, UsageError
from kubecdc.storage.configmap.state import ATTEMPTS, ConfigMapState, StateSettings
from kubecdc.storage.contracts import StateChange, StateEntry
from kubecdc.storage.contracts.errors import StateConflict
from kubecdc.storage.testing.state import change
from tests.apiserver import CONFIGMAPS, LocalSimulator, RealApiServer
from tests.storage.fake_config_map import FakeClock, FakeConfigMaps, settled
from tests.storage.stores import ConfigMapStores

SCOPE = "print/line"
AT_ONCE = StateSettings(window=timedelta(0))
EPOCH = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.fixture
def server() -> FakeConfigMaps:
    return FakeConfigMaps()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def process(server: FakeConfigMaps, clock: FakeClock) -> Callable[..., ConfigMapState]:
    """Makes the state as a process has it, each time of another process."""

    def opened(settings: StateSettings = AT_ONCE) -> ConfigMapState:
        wall = lambda: EPOCH + clock.time - 1000.0  # noqa: E731
        return ConfigMapState(server, settings, clock=wall, now=clock.now, sleep=clock.sleep)

    return opened


Process = Callable[..., ConfigMapState]


def lines(server: FakeConfigMaps) -> list[str]:
    """What stands in the ConfigMap, without the heading."""
    assert server.document is not None
    heading, *values = str(server.document["data"]["state"]).splitlines()
    assert heading == '{"format":1,"columns":["scope","key","version","expires","value"]}'
    return values


def refuse() -> None:
    raise Unavailable("no answer in time")


async def ends(*changes: object) -> list[type[BaseException] | None]:
    """How changes that are made together end."""
    ended = await asyncio.gather(*changes, return_exceptions=True)  # type: ignore[call-overload]
    return [None if end is None else type(end) for end in ended]


# -- what is written, and when


async def test_it_is_readable(process: Process, server: FakeConfigMaps) -> None:
    state = process()
    await state.put(SCOPE, "attempts", StateChange(value=b"3", ttl=timedelta(hours=1), token="0a"))
    await state.put("é\n/x", "k", StateChange(value=b"\xff", ttl=timedelta.max, token="0b"))
    assert lines(server) == [
        '["print/line","attempts","0a","2026-01-01T01:00:00Z","3"]',
        '["é\\n/x","k","0b","9999-01-01T00:00:00Z",{"base64":"/w=="}]',
    ]
    assert await process().get("é\n/x", "k") == StateEntry(b"\xff", "0b")


async def test_changes_that_wait_are_written_together(process: Process, server: FakeConfigMaps) -> None:
    state = process()
    first = [change(b"1") for _ in range(100)]
    await asyncio.gather(*(state.put(SCOPE, str(at), given) for at, given in enumerate(first)))
    assert (server.writes, server.reads, len(lines(server))) == (1, 1, 100)
    await asyncio.gather(
        *(state.delete(SCOPE, str(at), version=given.token) for at, given in enumerate(first[:50])),
        *(state.put(SCOPE, str(at), change(b"2", first[at].token)) for at in range(50, 100)),
    )
    assert (server.writes, server.reads, len(lines(server))) == (2, 1, 50)


async def test_a_busy_process_writes_five_times_a_second(
    process: Process, server: FakeConfigMaps, clock: FakeClock
) -> None:
    state = process(StateSettings())

    async def busy(key: str) -> None:
        follows = ""
        while clock.time < 1010.0:
            given = change(b"1", follows)
            await state.put(SCOPE, key, given)
            follows = given.token
            await clock.sleep(0.05)

    workers = [asyncio.create_task(busy(str(at))) for at in range(20)]
    await settled()
    assert server.writes == 1, "the first one does not wait"
    await clock.move(15.0)
    assert 45 <= server.writes <= 52
    await asyncio.gather(*workers)


async def test_one_that_is_refused_does_not_harm_the_others(process: Process, server: FakeConfigMaps) -> None:
    state = process()
    await state.put(SCOPE, "a", change(b"1"))
    made = change(b"1")
    wrong, right = state.put(SCOPE, "a", change(b"2")), state.put(SCOPE, "b", made)
    assert await ends(wrong, right, state.delete(SCOPE, "a", version="x")) == [StateConflict, None, StateConflict]
    assert await state.get(SCOPE, "b") == StateEntry(b"1", made.token)
    writes = server.writes
    assert await ends(state.put(SCOPE, "a", change(b"2")), state.put(SCOPE, "b", made)) == [StateConflict, None]
    assert server.writes == writes, "nothing was to be written"


async def test_what_a_caller_gave_up_before_its_turn_is_not_written(process: Process, server: FakeConfigMaps) -> None:
    state = process()
    given_up = asyncio.create_task(state.put(SCOPE, "a", change(b"1")))
    await asyncio.sleep(0)
    given_up.cancel()
    await settled()
    assert server.writes == 0
    await state.put(SCOPE, "b", change(b"1"))
    assert len(lines(server)) == 1


async def test_the_end_of_the_process_waits_for_what_is_under_way(process: Process, server: FakeConfigMaps) -> None:
    state = process()
    put, read = asyncio.create_task(state.put(SCOPE, "a", change(b"1"))), asyncio.create_task(state.get(SCOPE, "a"))
    await asyncio.sleep(0)
    await state.close()
    assert len(lines(server)) == 1
    await settled()
    assert put.done()
    assert read.done()


async def test_one_that_was_made_beforehand_is_used_and_keeps_its_labels(
    process: Process, server: FakeConfigMaps
) -> None:
    server.document = {"metadata": {"name": "x", "resourceVersion": "1", "labels": {"team": "a"}}}
    await process().put(SCOPE, "a", change(b"1"))
    assert server.document["metadata"]["labels"] == {"team": "a"}


# -- reads


class SlowConfigMaps(FakeConfigMaps):
    """Answers to reads come when a test lets them, with the content of the moment of the question."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[asyncio.Event] = []

    async def get(self, *, seconds: float) -> bytes | None:
        answer = await super().get(seconds=seconds)
        self.held.append(asyncio.Event())
        await self.held[-1].wait()
        return answer


async def test_readers_share_a_read_that_began_after_their_question(clock: FakeClock) -> None:
    server = SlowConfigMaps()
    state = ConfigMapState(server, AT_ONCE, clock=time.time, now=clock.now, sleep=clock.sleep)
    early = [asyncio.create_task(state.get(SCOPE, "a")) for _ in range(3)]
    await settled()
    other = FakeConfigMaps()
    await ConfigMapState(other, AT_ONCE, clock=time.time, now=clock.now, sleep=clock.sleep).put(
        SCOPE, "a", given := change(b"1")
    )
    server.document = other.document
    late = [asyncio.create_task(state.get(SCOPE, "a")) for _ in range(3)]
    await settled()
    assert len(server.held) == 1, "one read at a time"
    server.held[0].set()
    await settled()
    assert [await read for read in early] == [None] * 3
    assert not any(read.done() for read in late)
    server.held[1].set()
    assert [await read for read in late] == [StateEntry(b"1", given.token)] * 3
    assert len(server.held) == 2


async def test_a_reader_that_gives_up_does_not_take_the_answer_from_others(process: Process) -> None:
    state = process()
    one, other = asyncio.create_task(state.get(SCOPE, "a")), asyncio.create_task(state.get(SCOPE, "a"))
    await asyncio.sleep(0)
    one.cancel()
    assert await other is None


# -- other processes, and replies that are lost


async def test_a_put_whose_reply_was_lost_is_known_by_its_token(process: Process, server: FakeConfigMaps) -> None:
    state, other = process(), process()
    server.after = refuse
    given = change(b"1")
    with pytest.raises(Unavailable):
        await state.put(SCOPE, "a", given)
    server.after = lambda: None
    await state.put(SCOPE, "a", given)
    assert server.writes == 1
    server.after = refuse
    with pytest.raises(Unavailable):
        await state.delete(SCOPE, "a", version=given.token)
    server.after = lambda: None
    await state.delete(SCOPE, "a", version=given.token)
    assert (server.writes, await other.get(SCOPE, "a")) == (2, None)


async def test_a_change_that_another_process_was_faster_with_is_refused_and_the_others_are_made(
    process: Process, server: FakeConfigMaps
) -> None:
    state, other = process(), process()
    await state.put(SCOPE, "a", first := change(b"1"))
    await other.put(SCOPE, "a", change(b"2", first.token))
    late = state.put(SCOPE, "a", change(b"3", first.token))
    assert await ends(late, state.put(SCOPE, "b", change(b"1"))) == [StateConflict, None]
    found = await other.get(SCOPE, "a")
    assert found is not None
    assert found.value == b"2"


async def test_what_this_process_knows_of_old_refuses_nothing(process: Process) -> None:
    state, other = process(), process()
    await state.put(SCOPE, "a", first := change(b"1"))
    await other.put(SCOPE, "a", second := change(b"2", first.token))
    await state.put(SCOPE, "a", third := change(b"3", second.token))
    await other.delete(SCOPE, "a", version=third.token)
    await state.put(SCOPE, "a", change(b"4"))


class ContendedConfigMaps(FakeConfigMaps):
    """Another process is faster with each write, while ``contended``."""

    contended = False

    async def replace(self, document: dict[str, Any], *, seconds: float) -> bytes:
        assert self.document is not None
        if self.contended:
            self.version += 1
            self.document["metadata"]["resourceVersion"] = str(self.version)
        return await super().replace(document, seconds=seconds)


async def test_who_always_comes_second_gives_up(clock: FakeClock) -> None:
    server = ContendedConfigMaps()
    state = ConfigMapState(server, AT_ONCE, clock=clock.now, now=clock.now, sleep=clock.sleep)
    await state.put(SCOPE, "a", first := change(b"1"))
    server.contended = True
    put = asyncio.create_task(state.put(SCOPE, "a", change(b"2", first.token)))
    await settled()
    await clock.move(60.0)
    with pytest.raises(Unavailable, match="other processes keep changing") as refused:
        await put
    assert "run fewer workers" in refused.value.hint
    assert server.reads == ATTEMPTS  # the first one when it was made
    server.contended = False
    await state.put(SCOPE, "a", change(b"2", first.token))


async def test_while_the_api_is_away_nothing_is_answered(process: Process, server: FakeConfigMaps) -> None:
    state = process()
    await state.put(SCOPE, "a", first := change(b"1"))
    server.before = refuse
    assert await ends(state.put(SCOPE, "a", change(b"2", first.token)), state.put(SCOPE, "a", change(b"2"))) == [
        Unavailable,
        Unavailable,
    ]
    with pytest.raises(Unavailable):
        await state.get(SCOPE, "a")
    server.before = lambda: None
    assert await state.get(SCOPE, "a") == StateEntry(b"1", first.token)


async def test_one_that_is_older_than_known_counts_as_it_is(process: Process, server: FakeConfigMaps) -> None:
    state = process()
    await state.put(SCOPE, "a", first := change(b"1"))
    restored = server.document
    await state.put(SCOPE, "a", second := change(b"2", first.token))
    server.document = restored
    with pytest.raises(StateConflict):
        await state.put(SCOPE, "a", change(b"3", second.token))
    assert await state.get(SCOPE, "a") == StateEntry(b"1", first.token)
    await state.put(SCOPE, "a", change(b"2", first.token))


# -- expiry, and its size


async def test_what_has_expired_is_dropped_with_the_next_write(
    process: Process, server: FakeConfigMaps, clock: FakeClock
) -> None:
    state = process()
    await state.put(SCOPE, "short", short := change(b"1", ttl=timedelta(minutes=1)))
    await state.put(SCOPE, "long", change(b"1"))
    await clock.move(59.0)
    assert await state.get(SCOPE, "short") is not None
    await clock.move(1.0)
    assert await state.get(SCOPE, "short") is None
    await state.delete(SCOPE, "short", version=short.token)
    assert len(lines(server)) == 2, "this alone is no reason to write"
    await state.put(SCOPE, "new", change(b"1"))
    assert [line.split(",")[1] for line in lines(server)] == ['"long"', '"new"']


async def test_what_does_not_fit_is_refused_and_nothing_is_dropped_for_it(
    process: Process, server: FakeConfigMaps, clock: FakeClock
) -> None:
    state = process(StateSettings(window=timedelta(0), limit=10_000))
    given: list[StateChange] = []
    with structlog.testing.capture_logs() as logs, pytest.raises(Unavailable, match="is full: it has") as refused:
        while True:
            made = change(b"1", ttl=timedelta(minutes=1 if len(given) < 10 else 10))
            await state.put(SCOPE, f"{len(given):04}", made)
            given.append(made)
    assert [line["event"] for line in logs] == ["the state of triggers will soon not fit into its ConfigMap"]
    assert "`redis` or `sqlite`" in refused.value.hint
    assert len(lines(server)) == len(given) > 100
    assert sum(len(line) + 1 for line in lines(server)) <= 10_000
    await state.put(SCOPE, "0050", second := change(b"2", given[50].token))  # what needs no more room goes on
    with pytest.raises(Unavailable, match="is full"):
        await state.put(SCOPE, "0050", change(b"2" * 1000, second.token))
    await state.delete(SCOPE, "0060", version=given[60].token)
    await state.put(SCOPE, "0060", change(b"1"))
    await clock.move(60.0)
    await asyncio.gather(*(state.put(SCOPE, f"more-{at}", change(b"1")) for at in range(8)))


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        ({"app.properties": "a=b"}, Refused, "does not hold the state"),
        ({"checkpoints": '{"format": 1, "write": "", "checkpoints": []}'}, Refused, "does not hold the state"),
        ({"state": ""}, Refused, "is damaged"),
        ({"state": '{"format": 1}\n["a", "b"]\n'}, Refused, "is damaged"),
        ({"state": '{"format": 1}\n["a", "b", "c", "2026-01-01T00:00:00Z", {"base64": "/"}]'}, Refused, "is damaged"),
        ({"state": '{"format": 1}\n["a", "b", "c", "2026-01-01T00:00:00", "1"]'}, Refused, "is damaged"),
        ({"state": '{"format": 2, "of": "tomorrow"}\nline'}, UsageError, "has format 2, this kubecdc knows 1"),
    ],
)
async def test_a_configmap_that_is_not_ours_is_left_alone(
    data: dict[str, str], error: type[Exception], match: str, process: Process, server: FakeConfigMaps
) -> None:
    server.document = {"metadata": {"name": "x", "resourceVersion": "1"}, "data": data}
    state = process()
    for attempt in (state.get(SCOPE, "a"), state.put(SCOPE, "a", change(b"1")), state.delete(SCOPE, "a", version="x")):
        with pytest.raises(error, match=match):
            await attempt
    assert server.writes == 0


# -- on an API server


def on(kubeconfig: Path, stack: AsyncExitStack) -> ConfigMapStores:
    """A ConfigMap of its own."""
    return ConfigMapStores(kubeconfig, f"state-{uuid.uuid4().hex}", stack)


async def test_of_many_processes_that_count_at_once_none_loses_anything(
    api: LocalSimulator | RealApiServer, tmp_path: Path, stack: AsyncExitStack
) -> None:
    stores = on(api.kubeconfig(tmp_path / "kubeconfig"), stack)
    states = [await stores.state(AT_ONCE) for _ in range(4)]

    async def count(state: ConfigMapState, key: str) -> None:
        done = 0
        while done < 10:
            found = await state.get(SCOPE, key)
            given = change(b"%d" % (int(found.value) + 1 if found else 1), found.version if found else "")
            try:
                await state.put(SCOPE, key, given)
            except StateConflict:
                continue
            done += 1

    async with asyncio.timeout(60):
        await asyncio.gather(
            *(count(state, key) for at, state in enumerate(states) for key in ("shared", f"own-{at}", f"own-{at}"))
        )
    values = {key: await states[0].get(SCOPE, key) for key in ("shared", *(f"own-{at}" for at in range(4)))}
    assert {key: found and found.value for key, found in values.items()} == {
        "shared": b"40",
        **{f"own-{at}": b"20" for at in range(4)},
    }


async def test_one_that_is_deleted_begins_anew(
    api: LocalSimulator | RealApiServer, tmp_path: Path, stack: AsyncExitStack
) -> None:
    stores = on(api.kubeconfig(tmp_path / "kubeconfig"), stack)
    state, other = await stores.state(AT_ONCE), await stores.state(AT_ONCE)
    for _ in range(2):
        await state.put(SCOPE, "a", first := change(b"1"))
        await api.delete(*CONFIGMAPS, "default", stores.name)
        with pytest.raises(StateConflict):
            await state.put(SCOPE, "a", change(b"2", first.token))
        assert await state.get(SCOPE, "a") is None
        await other.put(SCOPE, "b", change(b"1"))  # makes it again
        await state.put(SCOPE, "c", change(b"1"))
        assert await state.get(SCOPE, "b") is not None
        await api.delete(*CONFIGMAPS, "default", stores.name)


async def test_a_right_that_lacks_is_named_with_the_commands_that_grant_it(
    api: LocalSimulator | RealApiServer, tmp_path: Path, stack: AsyncExitStack
) -> None:
    await api.kubeconfig_of(tmp_path / "kubeconfig", "nobody")
    state = await on(tmp_path / "kubeconfig", stack).state()
    with pytest.raises(Unavailable, match=r"forbidden \(403\)") as refused:
        await state.put(SCOPE, "a", change(b"1"))
    assert "kubectl create role kubecdc-state -n default --verb=get,create,update" in refused.value.hint
    assert "--resource=configmaps`" in refused.value.hint
