"""The cause of each fault, as `kubecdc status` names it: each is made for real, and its verdict is awaited."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

import click
import pytest
from redis.asyncio import Redis

from kubecdc import facts
from kubecdc.cli.main import cli
from kubecdc.cli.manifests.problem import ManifestErrors, Place, Problem
from kubecdc.cli.status import reporter
from kubecdc.errors import KubecdcError, UsageError
from kubecdc.facts import Trouble
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.pauses import pause
from kubecdc.watcher.election.elector import LeaseElector
from kubecdc.watcher.election.lease import ClusterLeaseClient
from kubecdc.watcher.election.settings import LeaseSettings
from tests.apiserver import WORKFLOWS, simulator
from tests.cli.silent import silent_server
from tests.cli.status.site import ENTRY, NAME, Site
from tests.harness.kinds import Kind
from tests.storage.redis_server import RedisServer

SOURCE, SUBSCRIPTION = f"source/{ENTRY}", f"subscription/{NAME}"
OBJECTS = [f"w{number}" for number in range(6)]  # as many as open a breaker, and one more


class Case(NamedTuple):
    """What is done, and what is said then: of what, which verdict, and a pattern of the cause; the next command."""

    make: Callable[[Site], Awaitable[None]]
    name: str
    verdict: str
    cause: str
    next: str = ""


async def both(site: Site) -> None:
    """A watcher and a worker, one event delivered."""
    await site.watch()
    await site.work()
    await site.until(SOURCE, "ok|idle", "^$")
    await site.create("first")


async def watcher_killed(site: Site) -> None:
    await both(site)
    await site.kill(site.watching)


async def leader_hung(site: Site) -> None:
    await both(site)
    site.watching[1].cancel()  # its loop does not turn, and it keeps the lock


async def no_watcher(site: Site) -> None:
    await site.work()


async def no_right_to_the_lease(site: Site) -> None:
    def elector(bus: object, cluster: object) -> LeaseElector:
        lease = LeaseSettings(bus="this one")
        client = ClusterLeaseClient(cluster, lease.namespace, lease.name)  # type: ignore[arg-type]
        return LeaseElector(client, bus.checkpoints, lease, holder="watcher")  # type: ignore[attr-defined]

    site.elector = elector
    site.api.fail(403, path="leases")
    await site.watch()


async def worker_killed(site: Site) -> None:
    await both(site)
    await site.until(SUBSCRIPTION, "idle", "^$")
    await site.kill(site.working)
    await site.create("second")


def api_answers(status: int, path: str = ".*") -> Callable[[Site], Awaitable[None]]:
    async def make(site: Site) -> None:
        await both(site)
        site.api.fail(status, path=path)
        site.api.cut_streams(mid_line=False)

    return make


async def api_away(site: Site) -> None:
    await both(site)
    refusing = asyncio.create_task(site.api.refuse(120))

    async def end() -> None:
        refusing.cancel()
        with suppress(asyncio.CancelledError):
            await refusing
        await site.api.simulator.start(site.api.simulator.port)

    site.stack.push_async_callback(end)


async def api_hangs(site: Site) -> None:
    await both(site)
    site.api.silence()
    site.stack.callback(site.api.silence, on=False)
    site.api.simulator.drop_connections()


async def no_crd(site: Site) -> None:
    site.api.fail(404, path="workflows")
    await site.watch()


async def history_gone(site: Site) -> None:
    await both(site)
    await site.delivered(1)
    await site.kill(site.watching)
    await site.api.delete(*WORKFLOWS, "default", "first")
    await site.api.expire_history()
    await site.watch()


async def etcd_restored(site: Site) -> None:
    backup = await site.api.snapshot()
    await both(site)
    await site.create("second")
    await site.delivered(2)
    await site.api.restore(backup)


async def another_cluster(site: Site) -> None:
    await both(site)
    await site.kill(site.watching)
    site.api = await site.stack.enter_async_context(simulator())
    await site.watch()


async def nobody_subscribes(site: Site) -> None:
    await both(site)
    bus = await site.opened()
    await bus.prune(NAME)
    await site.create("second")


async def bus_full(site: Site) -> None:
    site.bus["maxPending"] = 1
    site.receiver.open.clear()
    await both(site)
    await site.create("second", "third")


async def no_bus(site: Site) -> None:
    return


async def damaged_file(site: Site) -> None:
    await site.opened()
    await site.stack.aclose()
    (site.folder / "bus.db").write_bytes(b"no database" * 1000)
    for other in site.folder.glob("bus.db-*"):
        other.unlink()


async def redis_away(site: Site) -> None:
    server = await _redis(site)
    await both(site)
    await site.kill(site.watching)
    await site.kill(site.working)
    server.kill()


async def redis_hangs(site: Site) -> None:
    silent = await site.stack.enter_async_context(silent_server())
    site.bus = {"redis": {"url": f"redis://127.0.0.1:{silent.port}"}}


async def redis_out_of_memory(site: Site) -> None:
    server = await _redis(site)
    await both(site)
    async with Redis.from_url(server.url) as redis:
        await redis.config_set("maxmemory", 1)


async def worker_killed_on_redis(site: Site) -> None:
    await _redis(site)
    site.bus["redelivery"] = {"ackWait": "1s"}
    await worker_killed(site)


async def _redis(site: Site) -> RedisServer:
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server")
    server = RedisServer(site.folder)
    server.start()
    site.stack.callback(server.kill)
    site.bus = {"redis": {"url": server.url, "partitions": 4}}
    return server


def receiver_answers(status: int) -> Callable[[Site], Awaitable[None]]:
    async def make(site: Site) -> None:
        site.receiver.status = status
        await both(site)
        await site.create(*OBJECTS)

    return make


async def receiver_hangs_up(site: Site) -> None:
    site.receiver.hangs_up = True
    await both(site)
    await site.create(*OBJECTS)


async def receiver_slow(site: Site) -> None:
    site.receiver.open.clear()
    await both(site)


async def one_event_fails(site: Site) -> None:
    site.receiver.status = 503
    await both(site)


async def paused_by_command(site: Site) -> None:
    await pause(await site.opened(), NAME)
    await both(site)


async def paused_by_manifest(site: Site) -> None:
    site.trigger["paused"] = True
    await both(site)


async def no_manifest_names_it(site: Site) -> None:
    bus = await site.opened()
    await bus.register([SubscriptionSpec("old/one", "workflows", "changed")])
    await both(site)


async def not_registered(site: Site) -> None:
    bus = await site.opened()
    await bus.prune(NAME)


async def bad_clock(site: Site) -> None:
    await site.watch(wall=lambda: time.time() + 3600)


async def bad_manifests(site: Site) -> None:
    place = Place("manifests/sensor.yaml", 1, "Sensor/post")
    await _with_manifests(site, ManifestErrors([Problem(place, "spec.triggers", "is required")]))


async def manifests_that_need_a_restart(site: Site) -> None:
    error = UsageError("EventBus/default: spec.redelivery changed: that needs a restart", hint="restart the process")
    await _with_manifests(site, error)


async def _with_manifests(site: Site, error: KubecdcError) -> None:
    trouble = Trouble.of(error, time.time())
    site.stack.callback(facts.troubles.read("manifests", lambda: trouble))
    await both(site)


NOBODY = "^nobody leads: no watcher reports to the bus"
AGAIN = "kubecdc validate --cluster"
CASES = {
    "watcher killed": Case(watcher_killed, SOURCE, "blocked", f"{NOBODY}; the last leader, watcher,", "kubecdc watch"),
    "leader hung": Case(
        leader_hung, SOURCE, "blocked", f"{NOBODY}; the last leader, watcher, .*hangs", "kubecdc watch"
    ),
    "no watcher": Case(no_watcher, SOURCE, "blocked", f"{NOBODY}$", "kubecdc watch"),
    "no right to the lease": Case(
        no_right_to_the_lease, SOURCE, "blocked", "^nobody leads: 1 watcher stands by: forbidden .403.*leases", AGAIN
    ),
    "worker killed": Case(worker_killed, SUBSCRIPTION, "blocked", "^no worker of it reports", "kubecdc work"),
    "worker killed, Redis": Case(
        worker_killed_on_redis, SUBSCRIPTION, "blocked", "^no worker of it reports", "kubecdc work"
    ),
    "API server 401": Case(api_answers(401), SOURCE, "blocked", "does not accept the credentials .401", AGAIN),
    "API server 403": Case(api_answers(403), SOURCE, "blocked", "^forbidden .403", AGAIN),
    "API server 503": Case(api_answers(503), SOURCE, "blocked", "API server answered 503", AGAIN),
    "watches refused": Case(api_answers(503, "watch="), SOURCE, "blocked", "API server answered 503", AGAIN),
    "API server away": Case(api_away, SOURCE, "blocked", "API server at .* cannot be reached", AGAIN),
    "API server hangs": Case(api_hangs, SOURCE, "behind", "no watch is open"),
    "no CRD": Case(no_crd, SOURCE, "blocked", "does not know .* .404", AGAIN),
    "history gone": Case(
        history_gone, SOURCE, "ok|idle", "a gap was repaired: history expired", "kubecdc checkpoint show"
    ),
    "etcd restored": Case(
        etcd_restored, SOURCE, "ok|idle", "a gap was repaired: versions ran back", "kubecdc checkpoint show"
    ),
    "another cluster": Case(
        another_cluster, SOURCE, "blocked", "^nobody leads: watcher ended: .*another cluster.*checkpoint reset"
    ),
    "nobody subscribes": Case(nobody_subscribes, SOURCE, "blocked", "nobody subscribes to event", "kubecdc bus show"),
    "bus full: source": Case(bus_full, SOURCE, "blocked", "the bus is full: subscription 'post/send'"),
    "bus full: subscription": Case(bus_full, SUBSCRIPTION, "blocked", "its backlog has reached maxPending"),
    "no bus": Case(no_bus, "bus/default", "blocked", "there is no bus at .*kubecdc run", "kubecdc status -w"),
    "file damaged": Case(damaged_file, "bus/default", "blocked", "bus.db"),
    "Redis away": Case(redis_away, "bus/default", "blocked", "redis://.* does not answer", "kubecdc status -w"),
    "Redis out of memory": Case(
        redis_out_of_memory, "bus/default", "blocked", "not written: .*maxmemory", "kubecdc status -w"
    ),
    "Redis hangs": Case(redis_hangs, "bus/default", "blocked", "the bus has not answered within 0.5 s"),
    "receiver 503": Case(
        receiver_answers(503), SUBSCRIPTION, "failing", "^the trigger fails for all objects: .*503", "kubecdc try"
    ),
    "receiver 400": Case(
        receiver_answers(400), SUBSCRIPTION, "failing", "^it has dead letters: .*400", "kubecdc dlq list"
    ),
    "receiver hangs up": Case(receiver_hangs_up, SUBSCRIPTION, "failing", "^the trigger fails for all objects: "),
    "receiver slow": Case(
        receiver_slow, SUBSCRIPTION, "behind", "^events have waited for a long time", "kubecdc bus show -w"
    ),
    "one event fails": Case(
        one_event_fails, SUBSCRIPTION, "failing", "^the last attempts failed: .*503", "kubecdc try"
    ),
    "paused by command": Case(
        paused_by_command, SUBSCRIPTION, "blocked", "^it is paused by `kubecdc bus pause`", f"kubecdc bus resume {NAME}"
    ),
    "paused by manifest": Case(paused_by_manifest, SUBSCRIPTION, "blocked", "^it is paused by `paused: true`"),
    "no manifest names it": Case(
        no_manifest_names_it, "subscription/old/one", "blocked", "^no manifest names it", "kubecdc bus prune old/one"
    ),
    "not registered": Case(not_registered, SUBSCRIPTION, "blocked", "^it is not registered yet", "kubecdc run"),
    "bad clock": Case(bad_clock, "process/watcher", "failing", "its clock and the one here differ", "date -u"),
    "bad manifests": Case(
        bad_manifests,
        "process/worker",
        "failing",
        "^manifests: the manifests have a problem.*sensor.yaml, document 1, Sensor/post: spec.triggers: is required$",
        "kubecdc validate",
    ),
    "manifests that need a restart": Case(
        manifests_that_need_a_restart,
        "process/worker",
        "failing",
        r"^manifests: EventBus/default: .*needs a restart \(restart the process\)$",
    ),
}
EXPIRES = {
    "watcher killed",
    "leader hung",
    "another cluster",
    "worker killed",
    "worker killed, Redis",
    "Redis out of memory",
}
"""What tells of them is a report that expires."""
CHAOS = {
    Kind.KILL_WATCHER: "watcher killed",
    Kind.KILL_WORKER: "worker killed",
    Kind.PAUSE_WATCHER: "leader hung",
    Kind.PAUSE_WORKER: "worker killed",  # seen from outside, it is the same
    Kind.PAUSE_LEADER: "leader hung",
    Kind.KILL_SERVER: "API server away",
    Kind.RESTART_SERVER: "API server away",
    Kind.EXPIRE_HISTORY: "history gone",
    Kind.BLACKOUT: "history gone",
    Kind.RESTORE: "etcd restored",
    Kind.RESTORE_UNSEEN: "etcd restored",
    Kind.PAUSE_SERVER: "API server hangs",
    Kind.PAUSE_ETCD: "API server hangs",
    Kind.REFUSE_WATCHES: "watches refused",
    Kind.KILL_REDIS: "Redis away",
    Kind.CUT_BUS: "Redis away",
    Kind.HANG_BUS: "Redis hangs",
    Kind.REFUSE: "receiver 503",
    Kind.HANG_UP: "receiver hangs up",
    Kind.SLOW: "receiver slow",
}
HEALED = {Kind.CUT_STREAMS, Kind.LOSE_TAIL, Kind.FLUSH_SCRIPTS, Kind.DROP_REPLIES, Kind.DELAY_REPLIES}
"""They are over as soon as they are noticed: nobody has to know of them."""


def exists(*words: str) -> bool:
    """Whether there is such a command, and it takes manifests and has these options."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        command, words = found, words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    return known >= {"-f", *(word for word in words if word.startswith("-"))}


@pytest.mark.parametrize("name", CASES)
async def test_status_names_the_cause_of(name: str, place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    if name in EXPIRES:
        monkeypatch.setattr(reporter, "LIVES", timedelta(seconds=1))
    await case.make(place)
    row = await place.until(case.name, case.verdict, case.cause, 0.5 if name == "Redis hangs" else 60)
    assert row["next"].startswith(case.next)
    assert row["next"] == "" or name != "manifests that need a restart", "no command finds that out"
    assert not row["next"].startswith("kubecdc ") or exists(*shlex.split(row["next"])[1:])
    assert row["needs_person"] == (case.verdict in {"blocked", "failing"})


@pytest.mark.parametrize("bus", [{"redis": {"partitions": 4}}, {"rq": {}}], ids=["redis", "rq"])
async def test_what_works_is_ok_on(bus: dict[str, dict[str, object]], place: Site, redis_url: str) -> None:
    place.bus = {name: {**given, "url": redis_url} for name, given in bus.items()}
    await both(place)
    for name, by in ((SOURCE, "watcher"), (SUBSCRIPTION, "worker"), ("bus/default", "1 watch, 1 work")):
        await place.until(name, "ok|idle", "^$", by=by)  # the bus knows of it before it reports
    (partitions,) = (row["partitions"] for row in await place.look() if row["kind"] == "bus")
    assert partitions == (4 if "redis" in bus else None)


def test_every_fault_of_the_chaos_list_has_a_cause_or_heals_at_once() -> None:
    assert CHAOS.keys() | HEALED == set(Kind)
    assert set(CHAOS.values()) <= CASES.keys()
