"""What a dead worker had goes to the next when its lease lapses: in order, with its attempts and its delay."""

from __future__ import annotations

from pathlib import Path

from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.testing.actors import event
from tests.harness.fleet import SUBSCRIPTION, Fleet
from tests.harness.processes import Processes, until
from tests.harness.receiver import Behaviour, Line
from tests.storage.redis_server import RedisServer

ACK_WAIT = 1.0  # seconds
TAKEN = 10.0  # seconds after a death in which somebody else is at work: the lease, a beat, and a slow machine
DELAY = 2.5  # seconds between two attempts, well above the lease
ATTEMPTS = 3
CONCURRENCY = 64  # of a worker, by default: what its death can repeat at most


async def test_a_dead_workers_events_go_to_the_others_in_order(redis: RedisServer, tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        fleet = Fleet(tmp_path, processes, redis.url, partitions=8, redelivery={"ackWait": f"{ACK_WAIT:g}s"})
        await fleet.start_receiver()
        async with fleet.opened() as bus:
            for name in ("victim", "heir"):
                fleet.start_worker(name)

            async def shared() -> bool:
                return await fleet.shares(bus) == [4, 4]

            await fleet.until(shared, 20, "an even share")
            await fleet.behave(Behaviour(delay=0.5, seconds=60))
            await fleet.publish(bus, [event(version, f"o-{n}") for version in range(1, 6) for n in range(80)])
            await until(lambda: any(line.path == "/victim" for line in fleet.lines()[80:]), 20, "a second round")
            died = await processes["victim"].kill()
            await fleet.behave(Behaviour())
            await fleet.settle(bus)
    report, lines = fleet.account(), fleet.lines()
    assert (report.lost, report.out_of_order, report.invented) == ([], [], [])
    had = {line.id: line for line in lines if line.path == "/victim"}
    again = [line for line in lines if line.id in had and line.path == "/heir"]
    print(f"{len(had)} at the victim, {len(again)} again, first {again[0].at - died:.2f} s after its death")
    assert again, "something was in flight"
    assert sorted(report.repeated) == sorted(line.id for line in again)
    assert len(again) <= CONCURRENCY, "what was acked is not repeated"
    assert again[0].at - died < TAKEN


async def test_attempts_and_delays_outlive_workers_and_end_in_a_dead_letter(redis: RedisServer, tmp_path: Path) -> None:
    redelivery = {
        "ackWait": f"{ACK_WAIT:g}s",
        "maxDeliveries": ATTEMPTS,
        "backoff": {"duration": f"{DELAY:g}s", "factor": 1, "jitter": 0},
    }
    first, second = event(1, "doomed"), event(2, "doomed")
    with Processes(tmp_path) as processes:
        fleet = Fleet(tmp_path, processes, redis.url, partitions=1, redelivery=redelivery)
        await fleet.start_receiver()

        def attempts() -> list[Line]:
            return [line for line in fleet.lines() if line.id == first.id]

        async with fleet.opened() as bus:
            await fleet.behave(Behaviour(status=503, seconds=600, partitionkey=first.partitionkey))
            fleet.start_worker("one")
            await fleet.publish(bus, [first, second])
            await returned(fleet, bus, 1)
            await fleet.publish(bus, [event(3, "healthy")])  # so the attempt counts
            await fleet.until(lambda: succeeded(bus), 20, "a success for another")
            await processes["one"].kill()
            fleet.start_worker("two")
            await returned(fleet, bus, 2)
            for name, count in (("two", 3), ("three", 4)):
                await fleet.behave(Behaviour(delay=60, seconds=600, partitionkey=first.partitionkey))
                await until(lambda: len(attempts()) == count, 20, "an attempt that does not end")  # noqa: B023
                await processes[name].kill()
                await fleet.behave(Behaviour())
                fleet.start_worker({"two": "three", "three": "four"}[name])
            await fleet.settle(bus)
            letters = await fleet.ask("dlq", "list")
    assert [line.path for line in attempts()] == ["/one", "/two", "/two", "/three"], "a failure and two deaths count"
    assert attempts()[1].at - attempts()[0].at >= DELAY
    assert attempts()[2].at - attempts()[1].at >= DELAY
    (letter,) = letters
    assert (letter["event"], letter["attempts"]) == (first.id, ATTEMPTS + 1)
    assert "its worker died" in str(letter["reason"])
    assert [line.path for line in fleet.lines() if line.id == second.id] == ["/four"], "its successor goes on"


async def succeeded(bus: RedisBus) -> bool:
    return await bus.subscription(SUBSCRIPTION, prefetch=1).successes() > 0


async def returned(fleet: Fleet, bus: RedisBus, attempts: int) -> None:
    """Wait until so many attempts are on record, and the event waits for its next."""

    async def recorded() -> bool:
        tries = await bus._connection.keyed("HVALS", "tries:1")
        return [found.split()[0] for found in tries if not found.endswith(b" 0")] == [str(attempts).encode()]

    await fleet.until(recorded, 20, f"attempt {attempts}")
