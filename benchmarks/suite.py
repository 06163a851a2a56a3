"""Every figure by its name, in the order of the table, and how it is measured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.brokers import BROKERS, Broker, Missing
from benchmarks.capture import watch_commit
from benchmarks.creation import costs as costs_of_creation
from benchmarks.creation import rates as rates_of_creation
from benchmarks.crowd import costs
from benchmarks.delivery import worker_http, worker_log
from benchmarks.encryption import costs as costs_of_encryption
from benchmarks.figure import Definition, Figure, Target
from benchmarks.pace import paced
from benchmarks.projection import costs as costs_of_projection
from benchmarks.queues import commits, rates
from benchmarks.restart import starts
from benchmarks.scrape import scrapes
from benchmarks.scripts import scripts
from benchmarks.sensor import filters
from benchmarks.triggers import costs as costs_of_triggers

Pairs = Mapping[str, Sequence[tuple[float, float]]]  # by name: ours and bare, of each run


@dataclass(frozen=True)
class Size:
    """How much is done, and how often. A quick one only shows that everything works."""

    runs: int = 3
    changes: int = 60_000
    events: int = 30_000
    requests: int = 15_000
    messages: int = 10_000
    seconds: float = 15.0
    inventory: int = 100_000


QUICK = Size(runs=1, changes=300, events=300, requests=600, messages=300, seconds=1.0, inventory=500)


@dataclass(frozen=True)
class Measurement:
    """Figures that are measured together."""

    definitions: tuple[Definition, ...]
    measure: Callable[[Size], Awaitable[Pairs]]

    async def figures(self, size: Size) -> list[Figure]:
        pairs = await self.measure(size)
        return [Figure.of(definition, pairs[definition.name]) for definition in self.definitions]


def _faster(name: str, bound: float, bare: str, *, unit: str = "events/s", of_ratio: bool = True) -> Definition:
    return Definition(name, unit, Target(bound, at_least=True, of_ratio=of_ratio), bare)


def _below(name: str, unit: str, bound: float, bare: str) -> Definition:
    return Definition(name, unit, Target(bound, at_least=False), bare)


def _runs(definition: Definition, once: Callable[[Size], Awaitable[tuple[float, float]]]) -> Measurement:
    async def measure(size: Size) -> Pairs:
        return {definition.name: [await once(size) for _ in range(size.runs)]}

    return Measurement((definition,), measure)


def _watch_commit(name: str, kind: str, bound: float, *, redis: bool) -> Measurement:
    definition = _faster(name, bound, "official watch, read only")
    return _runs(definition, lambda size: watch_commit(kind, redis=redis, changes=size.changes))


async def _crowd(size: Size) -> Pairs:
    return {CROWD.name: [await costs(size.messages) for _ in range(size.runs)]}


def _triggers(name: str, *, redis: bool) -> Measurement:
    definition = Definition(name, "ms/event", Target(2.0, at_least=False, of_ratio=True), "20 triggers")
    return _runs(definition, lambda size: costs_of_triggers(size.seconds, redis=redis))


def _script(language: str, bound: float, bare: str) -> Definition:
    return Definition(f"scripts_{language}", "us/event", Target(bound, at_least=False, of_ratio=True), bare)


async def _scripts(size: Size) -> Pairs:
    runs = [await scripts(size.messages // 10) for _ in range(size.runs)]
    return {f"scripts_{language}": [run[language] for run in runs] for language in runs[0]}


async def _latency(size: Size) -> Pairs:
    runs = [await paced(500, size.seconds) for _ in range(size.runs)]
    shares = {"latency_p50": 0.5, "latency_p99": 0.99}
    return {name: [(o.percentile(share), b.percentile(share)) for o, b in runs] for name, share in shares.items()}


async def _cpu(size: Size) -> Pairs:
    runs = [await paced(300, size.seconds) for _ in range(size.runs)]
    return {
        "cpu_watch": [(ours.reader, bare.reader) for ours, bare in runs],
        "cpu_work": [(ours.deliverer, bare.deliverer) for ours, bare in runs],
    }


async def _restart(size: Size) -> Pairs:
    runs = await starts(size.inventory, size.runs)
    return {
        "start_100k": [(ours.seconds, bare.seconds) for ours, bare in runs],
        "rss_100k": [(ours.memory, bare.memory) for ours, bare in runs],
    }


def _rates(broker: Broker, bare_publish: str, bare_consume: str) -> Measurement:
    async def measure(size: Size) -> Pairs:
        runs = [await rates(broker, size.messages) for _ in range(size.runs)]
        return {
            f"{what}_{broker.name}": [(ours[what], bare[what]) for ours, bare in runs]
            for what in ("publish", "consume")
        }

    publish = _faster(f"publish_{broker.name}", 0.8, bare_publish)
    return Measurement((publish, _faster(f"consume_{broker.name}", 0.8, bare_consume)), measure)


def _commits(broker: Broker) -> Measurement:
    async def measure(size: Size) -> Pairs:
        runs = [await commits(broker) for _ in range(size.runs)]
        return {
            f"round_trips_{broker.name}": [(ours.trips, bare.trips) for ours, bare in runs],
            f"commit_50ms_{broker.name}": [(ours.milliseconds, bare.milliseconds) for ours, bare in runs],
        }

    trips = _below(f"round_trips_{broker.name}", "round trips", 4, "the messages alone")
    return Measurement((trips, _below(f"commit_50ms_{broker.name}", "ms", 200, "the messages alone")), measure)


def _scrape(name: str, *, redis: bool) -> Measurement:
    definition = _below(name, "ms", 100, "prometheus-client, the same series")
    return _runs(definition, lambda size: scrapes(max(1, int(size.seconds / 3)), redis=redis))


BARE_CLIENTS = {
    "sqs": ("boto3, 10 calls of 10", "boto3, 4 polls, 4 deletes"),
    "pubsub": ("PublisherAsyncClient, 100 at a time", "pull 64, acknowledge"),
    "rq": ("RQ's jobs, 100 in a MULTI", "RQ's registrations, 64 in a MULTI"),
}
CROWD = Definition("crowd_redis", "ms/event", Target(2.0, at_least=False, of_ratio=True), "1 subscription")
LOOP = "watch line -> XADD -> XREADGROUP"
MEASUREMENTS = (
    _watch_commit("watch_commit_redis_workflow", "workflow", 2.5, redis=True),
    _watch_commit("watch_commit_redis_service", "service", 4.0, redis=True),
    _watch_commit("watch_commit_sqlite_workflow", "workflow", 1.0, redis=False),
    _runs(
        Definition("projection_redis", "us/event", Target(1.0, at_least=False, of_ratio=True), "the whole object"),
        lambda size: costs_of_projection(size.changes // 3),
    ),
    _runs(
        Definition("encryption_redis", "us/event", Target(1.25, at_least=False, of_ratio=True), "in the clear"),
        lambda size: costs_of_encryption(size.changes // 3),
    ),
    _runs(
        _faster("worker_log_redis", 15_000, "XREADGROUP COUNT 100, XACK", of_ratio=False),
        lambda size: worker_log(events=size.events),
    ),
    _runs(
        _faster("worker_http", 0.8, "aiohttp, 256 at a time", unit="requests/s"),
        lambda size: worker_http(events=size.requests),
    ),
    _runs(
        _below("sensor_filters", "us/event", 60, "decode, look, encode"),
        lambda size: filters(size.messages // 5),
    ),
    _runs(
        _faster("k8s_create", 0.8, "aiohttp, the same bodies", unit="objects/s"),
        lambda size: rates_of_creation(size.messages // 40),
    ),
    _runs(
        Definition(
            "k8s_create_cpu", "us/object", Target(3.0, at_least=False, of_ratio=True), "aiohttp, the same bodies"
        ),
        lambda size: costs_of_creation(size.messages // 40),
    ),
    Measurement((_script("jq", 1.5, "jq in a child"), _script("lua", 3.0, "one Lua in a child")), _scripts),
    Measurement((CROWD,), _crowd),
    _triggers("triggers_redis", redis=True),
    _triggers("triggers_sqlite", redis=False),
    _scrape("scrape_redis", redis=True),
    _scrape("scrape_sqlite", redis=False),
    Measurement((_below("latency_p50", "ms", 5, LOOP), _below("latency_p99", "ms", 25, LOOP)), _latency),
    Measurement(
        (
            _below("start_100k", "s", 2, "imports, one watch"),
            _below("rss_100k", "MiB", 120, "imports, inventory in a dict"),
        ),
        _restart,
    ),
    Measurement(
        (
            _below("cpu_watch", "s/1000 events", 0.3, "watch line -> XADD"),
            _below("cpu_work", "s/1000 events", 0.3, "XREADGROUP -> line"),
        ),
        _cpu,
    ),
    *(_rates(broker, *BARE_CLIENTS[broker.name]) for broker in BROKERS),
    *(_commits(broker) for broker in BROKERS),
)
NAMES = tuple(definition.name for measurement in MEASUREMENTS for definition in measurement.definitions)


async def run(
    names: Sequence[str], size: Size, done: Callable[[Figure], None], left_out: Callable[[str, str], None]
) -> list[Figure]:
    """Measure what is named, one after the other; ``done`` hears of each.

    ``left_out`` hears of each name that cannot be measured on this machine, and why.
    """
    found: list[Figure] = []
    for measurement in MEASUREMENTS:
        wanted = [definition.name for definition in measurement.definitions if definition.name in names]
        if not wanted:
            continue
        try:
            figures = await measurement.figures(size)
        except Missing as e:
            for name in wanted:
                left_out(name, str(e))
            continue
        for figure in figures:
            if figure.definition.name in wanted:
                found.append(figure)
                done(figure)
    return found
