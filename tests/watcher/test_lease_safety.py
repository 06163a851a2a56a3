"""Whatever clocks, pauses and the network do within their bounds, two never trust themselves at once."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubecdc.storage.contracts import Term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.watcher.election.clock import Timing
from kubecdc.watcher.election.elector import LeaseElector
from kubecdc.watcher.election.lease import Lease
from kubecdc.watcher.election.settings import LeaseSettings
from tests.watcher.virtual import Machine, Server, Span, Wire, World, run

SETTINGS = LeaseSettings(
    duration=timedelta(seconds=15), renew_deadline=timedelta(seconds=10), retry_period=timedelta(seconds=2)
)
RATIO = SETTINGS.seconds / SETTINGS.deadline_seconds
SPAN = 120.0  # seconds of faults
CALM = 60.0  # and of none, at the end


class Store:
    """The part of a `CheckpointStore` that an election asks."""

    def __init__(self) -> None:
        self.term = 0

    async def newest_term(self) -> int:
        return self.term


@dataclass
class Candidate:
    """Leads whenever it can, and now and then hands over."""

    elector: LeaseElector
    machine: Machine
    rng: random.Random
    leading: Term | None = None
    late: int = 0  # looks in a row that found it at work without trust

    def look(self) -> None:
        """The work is cancelled when the trust ends, or when a pause does."""
        idle = not self.leading or self.elector.trusted or self.machine.is_paused()
        self.late = 0 if idle else self.late + 1
        assert self.late < 2, f"{self.elector.identity} works on without trust"

    async def run(self, trial: Trial) -> None:
        while True:
            with suppress(LeadershipLost):
                async with self.elector.lead() as term:
                    self.leading = term
                    trial.begun(term)
                    try:
                        await self.machine.sleep(self.rng.uniform(5.0, 60.0))
                    finally:
                        trial.check()
                        self.leading = None


@dataclass
class Trial:
    candidates: list[Candidate] = field(default_factory=list)
    store: Store = field(default_factory=Store)
    terms: list[int] = field(default_factory=list)
    moments: int = 0
    deleted: bool = False  # the Lease, at times
    violations: list[list[str]] = field(default_factory=list)

    def begun(self, term: Term) -> None:
        assert all(term.number > before for before in self.terms), (self.terms, term)
        self.terms.append(term.number)
        # The store comes back older now and then, but not where the Lease is deleted too: one of them has to remember.
        self.store.term = term.number if self.deleted or term.number % 3 else 0
        self.check()

    def delete(self, server: Server) -> None:
        """By hand, once the holder has taken its checkpoints: a number that nobody but the Lease knows dies with it."""
        lease = server.get()
        if lease and lease.epoch <= self.store.term:
            server.delete()

    def check(self) -> None:
        self.moments += 1
        trusting = [c.elector.identity for c in self.candidates if c.leading and c.elector.trusted]
        if len(trusting) > 1:
            self.violations.append(trusting)


class Slow(Wire):
    """A network whose delays are told. ``sent``: when each write was."""

    there = back = 0.01

    def __init__(self, server: Server, machine: Machine) -> None:
        super().__init__(server, machine, random.Random(1), 0.0)
        self.sent: list[float] = []
        self._world = machine.world

    async def create(self, document: dict[str, Any], *, seconds: float) -> Lease:
        self.sent.append(self._world.time())
        return await super().create(document, seconds=seconds)

    async def update(self, document: dict[str, Any], *, seconds: float) -> Lease:
        self.sent.append(self._world.time())
        return await super().update(document, seconds=seconds)

    def delays(self) -> tuple[float, float]:
        return self.there, self.back


@dataclass(frozen=True)
class Weather:
    rates: tuple[float, ...]
    pauses: tuple[list[Span], ...]
    parted: tuple[list[Span], ...]
    deleted: list[float]
    slowness: float
    seed: int


def spans() -> st.SearchStrategy[list[Span]]:
    start, length = st.floats(0.0, SPAN), st.floats(0.1, 40.0)
    made = st.tuples(start, length).map(lambda s: (s[0], min(s[0] + s[1], SPAN)))
    return st.lists(made, max_size=4)


@st.composite
def weathers(draw: st.DrawFn) -> Weather:
    return Weather(
        rates=(1.0, draw(st.floats(1.0 / RATIO * 1.001, RATIO * 0.999))),
        pauses=(draw(spans()), draw(spans())),
        parted=(draw(spans()), draw(spans())),
        deleted=draw(st.lists(st.floats(0.0, SPAN), max_size=3)),
        slowness=draw(st.sampled_from([0.0, 0.05, 0.3])),
        seed=draw(st.integers(0, 2**32)),
    )


async def election(world: World, weather: Weather) -> Trial:
    """The whole of it; every half second, and whenever somebody begins, writes or ends, is held against the rule."""
    trial = Trial(deleted=bool(weather.deleted))
    server = Server(trial.check)
    for n, rate in enumerate(weather.rates):
        rng = random.Random(weather.seed + n)
        machine = Machine(world, rate, weather.pauses[n], weather.parted[n], jumps=rng.uniform(-1e6, 1e6))
        calm = world.time() + SPAN
        wire = Wire(server, machine, rng, weather.slowness)
        world.call_at(calm, setattr, wire, "slowness", 0.0)
        store = cast(Any, trial.store)
        elector = LeaseElector(wire, store, SETTINGS, holder=f"candidate-{n}", timing=Timing(machine, rng))
        trial.candidates.append(Candidate(elector, machine, rng))
    for moment in weather.deleted:
        world.call_at(moment, trial.delete, server)
    tasks = [asyncio.create_task(c.run(trial)) for c in trial.candidates]
    led = False
    try:
        while world.time() < SPAN + CALM:
            await asyncio.sleep(0.5)
            trial.check()
            for candidate in trial.candidates:
                candidate.look()
            # Who never saw the holder of a deleted Lease cannot wait for it: then only the epoch is left.
            assert trial.deleted or not trial.violations, (world.time(), trial.violations)
            led = led or (world.time() > SPAN and any(c.leading and c.elector.trusted for c in trial.candidates))
            for task in tasks:
                if task.done():
                    task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert led, "nobody led though all was well"
    return trial


@settings(max_examples=300)
@given(weathers())
def test_two_never_trust_themselves_at_once_and_epochs_only_grow(weather: Weather) -> None:
    run(lambda world: election(world, weather))


def test_the_rule_is_put_to_the_test() -> None:
    """A trial of fair weather has many terms, of both."""
    fair = Weather((1.0, 1.2), ([], []), ([], []), [], 0.0, 7)
    trial = run(lambda world: election(world, fair))
    assert len(trial.terms) >= 4
    assert trial.moments > 300


@pytest.mark.parametrize("ratio", [RATIO * 1.2])
def test_drift_beyond_the_bound_is_found_out(ratio: float) -> None:
    """What the trial is worth: with a candidate whose clock runs too fast, it does see two."""
    parted: tuple[list[Span], ...] = ([(20.0, 60.0)], [])
    found = 0
    for seed in range(20):
        try:
            run(lambda world, seed=seed: election(world, Weather((1.0, ratio), ([], []), parted, [], 0.0, seed)))  # type: ignore[misc]
        except AssertionError:
            found += 1
    assert found > 0


def test_the_trust_counts_from_when_the_renewal_was_sent() -> None:
    """However late the reply: the candidates' patience begins when the server has written."""

    async def scenario(world: World) -> None:
        machine, store = Machine(world), Store()
        wire = Slow(Server(), machine)
        elector = LeaseElector(wire, cast(Any, store), SETTINGS, holder="one", timing=Timing(machine))
        wire.there, wire.back = 0.5, 3.5
        for wait in (0.0, 7.0):  # the trust of the take itself, and of the renewal whose reply came a second ago
            with pytest.raises(LeadershipLost, match=r"the Lease default/kubecdc could not be renewed for 10 s"):
                async with elector.lead():
                    await machine.sleep(wait)
                    sent = wire.sent[-1]
                    machine.parted = [(world.time(), 1000.0)]
                    await machine.sleep(60.0)
            assert world.time() == pytest.approx(sent + 10.0)
            machine.parted = []

    run(scenario)


def test_a_candidate_that_has_seen_the_holder_waits_when_the_lease_is_deleted() -> None:
    async def scenario(world: World) -> None:
        server, store = Server(), Store()
        one, other = (Machine(world, parted=[]) for _ in range(2))
        electors = [
            LeaseElector(
                Wire(server, m, random.Random(n), 0.0), cast(Any, store), SETTINGS, holder=str(n), timing=Timing(m)
            )
            for n, m in enumerate((one, other))
        ]
        began: list[float] = []

        async def follow() -> None:
            async with electors[1].lead():
                began.append(world.time())

        with pytest.raises(LeadershipLost, match="could not be renewed"):
            async with electors[0].lead():
                waiting = asyncio.create_task(follow())
                await one.sleep(5.0)
                one.parted = [(world.time(), 1000.0)]
                deleted = world.time()
                server.delete()
                await one.sleep(60.0)
        await waiting
        assert deleted + 15.0 <= began[0] <= deleted + 15.0 + 3.0

    run(scenario)
