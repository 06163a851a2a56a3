"""A system clock that is set, forward or back: claims and delays of a file last as long as they should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubecdc.storage.contracts import Publication, Replay, StateChange, SubscriptionSpec
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite import clock as bus_clock
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.storage.sqlite.deliveries import subscription
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Receiver, event, known
from tests.harness.other_program import other_program

NAME = "s/t"
SPEC = SubscriptionSpec(NAME, SOURCE, SUBJECT)
HOUR = 3600.0
READ = 1.2  # seconds in which a reader looks at the file at least once, whatever happens


class Machine:
    """Its clocks: time passes on both, and the wall clock may be set."""

    def __init__(self) -> None:
        self.elapsed, self.offset = 100.0, 1_790_000_000.0

    def wall(self) -> float:
        return self.elapsed + self.offset

    def monotonic(self) -> float:
        return self.elapsed

    @asynccontextmanager
    async def bus(self, path: Path, holder: str = "one", **given: object) -> AsyncIterator[SqliteBus]:
        made = SqliteSettings(path, ack_wait=timedelta(seconds=30), **given)  # type: ignore[arg-type]
        bus = await open_bus(made, holder=holder, clock=self.wall, monotonic=self.monotonic)
        try:
            yield bus
        finally:
            await bus.close()


async def published(bus: SqliteBus, *numbers: int) -> None:
    await bus.register([SPEC])
    await bus.publisher.publish(Publication([event(number, str(number)) for number in numbers]))


@pytest.mark.parametrize("step", [HOUR, -HOUR, 31.0])
async def test_what_is_in_work_is_not_claimed_again_when_the_clock_is_set(tmp_path: Path, step: float) -> None:
    machine = Machine()
    async with machine.bus(tmp_path / "b.db") as one, machine.bus(tmp_path / "b.db", "two") as two:
        await published(one, 1)
        async with Receiver.of(one, NAME, prefetch=8) as receiver:
            delivery = await receiver.next()
            async with Receiver.of(two, NAME, prefetch=8) as other:
                machine.offset += step
                await asyncio.gather(receiver.nothing(READ), other.nothing(READ))
                await delivery.extend()
                machine.elapsed += 29
                await asyncio.gather(receiver.nothing(READ), other.nothing(READ))
                await delivery.ack()
        assert (await one.subscriptions())[0].pending == 0


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_a_process_that_has_not_noticed_yet_claims_by_the_times_of_the_file(tmp_path: Path, step: float) -> None:
    machine, path = Machine(), tmp_path / "b.db"
    async with machine.bus(path) as one:
        other = bus_clock.BusClock(machine.wall, machine.monotonic)
        machine.offset += step
        async with Receiver.of(one, NAME, prefetch=8) as receiver:
            await published(one, 1)
            await (await receiver.next()).ack()
        with other_program(path) as db:
            assert other.in_file(db) == pytest.approx(machine.wall(), abs=0.01)
        assert other.now() == pytest.approx(machine.wall() - step, abs=0.01)


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_a_process_that_sleeps_goes_by_the_times_that_another_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    monkeypatch.setattr(subscription, "IDLE", 60.0)
    machine, path = Machine(), tmp_path / "b.db"
    async with machine.bus(path) as one, machine.bus(path, "two") as other:
        await one.register([SPEC])
        async with Receiver.of(one, NAME) as receiver:
            await receiver.nothing(READ)
            machine.offset += step
            await published(other, 1)
            assert await receiver.acked(1) == [event(1, "1").id]


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_state_lasts_as_long_as_it_should_for_a_process_that_has_not_noticed_yet(
    tmp_path: Path, step: float
) -> None:
    machine, path = Machine(), tmp_path / "b.db"
    async with machine.bus(path) as one, machine.bus(path, "two") as other:
        await one.state.put("s/t", "key", StateChange(value=b"short", ttl=timedelta(seconds=60)))
        machine.offset += step
        await published(other, 1)
        await one.retention.enforce()
        assert await one.state.get("s/t", "key")
        assert await one.state.keys("s/t") == ["key"]
        machine.elapsed += 61
        assert not await one.state.get("s/t", "key")


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_claims_of_the_dead_and_delays_last_as_long_as_they_should(tmp_path: Path, step: float) -> None:
    machine = Machine()
    async with machine.bus(tmp_path / "b.db") as one, machine.bus(tmp_path / "b.db", "two") as two:
        await published(one, 1, 2)
        async with Receiver.of(one, NAME, prefetch=2) as receiver:
            dead, late = await receiver.next(), await receiver.next()
            await late.nack(timedelta(seconds=10))
        machine.offset += step
        async with Receiver.of(two, NAME, prefetch=8) as other:
            await other.nothing(READ)
            machine.elapsed += 11
            assert await other.acked(1) == [late.event.id]
            await other.nothing(READ)
            machine.elapsed += 20
            assert await other.acked(1) == [dead.event.id]


@pytest.mark.parametrize("down", [False, True])
async def test_what_was_committed_before_the_clock_was_set_back_is_delivered_at_once(
    tmp_path: Path, down: bool
) -> None:
    machine = Machine()
    async with machine.bus(tmp_path / "b.db") as bus:
        await published(bus, 1, 2)
        if not down:
            machine.offset -= HOUR
            async with Receiver.of(bus, NAME) as receiver:
                assert len(await receiver.acked(2)) == 2
    if down:
        machine.offset -= HOUR
        async with machine.bus(tmp_path / "b.db") as bus, Receiver.of(bus, NAME) as receiver:
            assert len(await receiver.acked(2)) == 2


async def test_another_boot_is_no_clock_that_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    async with machine.bus(tmp_path / "b.db") as bus:
        await published(bus, 1)
        async with Receiver.of(bus, NAME) as receiver:
            await (await receiver.next()).nack(timedelta(seconds=60))
    monkeypatch.setattr(bus_clock, "_boot_id", lambda: "another")
    machine.elapsed, machine.offset = 5.0, machine.wall()
    async with machine.bus(tmp_path / "b.db") as bus, Receiver.of(bus, NAME) as receiver:
        await receiver.nothing(READ)
        machine.elapsed += 61
        assert await receiver.acked(1) == [event(1, "1").id]


def reboot(machine: Machine, monkeypatch: pytest.MonkeyPatch, wrong: float) -> float:
    """Its clock starts at a wrong time. Returns the offset that is right."""
    right = machine.wall()
    monkeypatch.setattr(bus_clock, "_boot_id", lambda: f"boot at {wrong}")
    machine.elapsed, machine.offset = 5.0, wrong
    return right


@pytest.mark.parametrize("wrong", [1_790_000_000.0 - 30 * 24 * HOUR, 0.0])
async def test_nothing_waits_for_a_clock_that_was_behind_after_a_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    machine, path = Machine(), tmp_path / "b.db"
    async with machine.bus(path) as bus:
        await published(bus, 1, 2, 3)
        await bus.state.put("s/t", "key", StateChange(value=b"short", ttl=timedelta(seconds=60)))
        async with Receiver.of(bus, NAME, prefetch=2) as receiver:
            dead, late = await receiver.next(), await receiver.next()
            await late.nack(timedelta(seconds=10))
    right = reboot(machine, monkeypatch, wrong)
    async with machine.bus(path) as bus, machine.bus(path, "two") as other:
        machine.offset = right
        async with Receiver.of(other, NAME, prefetch=8) as receiver:
            assert await receiver.acked(1) == [event(3, "3").id]
            await receiver.nothing(READ)
            machine.elapsed += 11
            assert await receiver.acked(1) == [late.event.id]
            assert await other.state.get("s/t", "key")
            await receiver.nothing(READ)
            machine.elapsed += 20
            assert await receiver.acked(1) == [dead.event.id]
            machine.elapsed += 30
            assert not await other.state.get("s/t", "key")


async def test_nothing_waits_longer_than_an_hour_if_nothing_tells_how_far_the_clock_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, path = Machine(), tmp_path / "b.db"
    async with machine.bus(path) as bus:
        machine.elapsed += 200 * 24 * HOUR
        await published(bus, 1)
        async with Receiver.of(bus, NAME) as receiver:
            await (await receiver.next()).nack(timedelta(seconds=60))
    right = reboot(machine, monkeypatch, 0.0)
    async with machine.bus(path) as bus:
        machine.offset = right
        async with Receiver.of(bus, NAME) as receiver:
            await receiver.nothing(READ)
            machine.elapsed += HOUR + 1
            assert await receiver.acked(1) == [event(1, "1").id]


async def test_nothing_waits_for_a_clock_that_was_ahead_until_a_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, path = Machine(), tmp_path / "b.db"
    async with machine.bus(path) as bus:
        await published(bus, 1)
    right = reboot(machine, monkeypatch, machine.wall() + 30 * 24 * HOUR)
    async with machine.bus(path) as bus:
        await published(bus, 2)
    reboot(machine, monkeypatch, right)
    async with machine.bus(path) as bus, Receiver.of(bus, NAME, prefetch=8) as receiver:
        assert len(await receiver.acked(2)) == 2


async def test_a_process_that_died_before_a_boot_with_a_slow_clock_is_not_taken_for_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, path = Machine(), tmp_path / "b.db"
    async with machine.bus(path, "dead") as dead:
        await dead.register([SubscriptionSpec(NAME, SOURCE, "before")])
        right = reboot(machine, monkeypatch, 0.0)
        async with machine.bus(path, "two") as bus:
            await bus.register([SPEC])
            machine.offset = right
            await bus.keep([SPEC])
            machine.elapsed += 61
            await bus.keep([SPEC])
            machine.elapsed += 61
            await bus.keep([SPEC])
            assert await bus.subscription(NAME, prefetch=1).registered() == (SPEC,)


STEPS = st.tuples(st.sampled_from("ab"), st.sampled_from([1.0, HOUR, -HOUR, -9 * HOUR]), st.booleans())


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=2, max_size=8), st.integers(1, 9))
def test_a_replay_ends_with_the_newest_event_whatever_the_clock_did(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float, bool]], kept: int
) -> None:
    async def run() -> dict[str, str]:
        machine, size = Machine(), len(event(1).encode())
        path = tmp_path_factory.mktemp("bus") / "b.db"
        async with machine.bus(path, retention_bytes=kept * size, retention=timedelta(hours=5)) as bus:
            await bus.register([SPEC])
            async with Receiver.of(bus, NAME, prefetch=8) as receiver:
                for number, (name, step, settle) in enumerate(steps, 1):
                    machine.offset += step
                    await bus.publisher.publish(Publication([event(number, name)]))
                    if settle:
                        await receiver.acked(1)
                        await bus.retention.enforce()
                await receiver.acked(known((await bus.subscriptions())[0].pending))
                await bus.retention.enforce()
                count = await bus.replay(Replay(subscription=NAME))
                return {id_.split("uid-")[1][0]: id_ for id_ in await receiver.acked(count)}

    newest = {name: event(number, name).id for number, (name, _, _) in enumerate(steps, 1)}
    last = asyncio.run(run())
    assert all(id_ == newest[name] for name, id_ in last.items()), (newest, last)
