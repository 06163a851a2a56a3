"""Publishing to a broker that takes part of a batch, and whose calls fail, get lost or come too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.broker.contract import Outgoing
from kubecdc.storage.contracts import Batch, CheckpointDelta, LeadershipLost, Publication, SubscriptionSpec, Term
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.split import SplitPublisher
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.testing.actors import KEY, SOURCE, SUBJECT, event, events, raises, state, step
from tests.storage.broker.memory import Broker, MemoryQueue, Topic, lanes

NAME = "billing"


def broker(*names: str) -> Broker:
    made = Broker()
    for name in names or (NAME,):
        made.topics[name] = Topic(SubscriptionSpec(name, SOURCE, SUBJECT))
    return made


def stored(topic: Topic) -> list[str]:
    return [Event.decode(message.body).id for message in topic.messages]


def sends(made: Broker) -> list[int]:
    return [size for call, size in made.calls if call == "send"]


async def test_events_of_many_objects_go_in_few_calls_at_once() -> None:
    made = broker()
    under_way, most = 0, 0

    def before(call: str) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)

    def after(call: str) -> None:
        nonlocal under_way
        under_way -= 1

    made.before, made.after = before, after
    await MemoryQueue(made).publish(Publication([event(n, f"o-{n}") for n in range(100)]))
    assert sends(made) == [10] * 10
    assert most == MemoryQueue.parallel


async def test_two_events_of_an_object_are_never_under_way_together() -> None:
    made = broker()
    await MemoryQueue(made).publish(Publication([*events(range(5)), event(9, "b")]))
    assert sends(made) == [2, 1, 1, 1, 1]
    assert stored(made.topics[NAME])[:1] == [event(0).id]
    assert [id_ for id_ in stored(made.topics[NAME]) if "uid-a" in id_] == [e.id for e in events(range(5))]


async def test_a_broker_that_takes_a_call_as_a_whole_gets_a_lane_in_one() -> None:
    made = broker()
    queue = MemoryQueue(made, whole_lanes=True)
    await queue.publish(Publication([*events(range(10)), event(11, "b"), event(12, "b")]))
    assert sorted(sends(made)) == [2, 10]


async def test_what_comes_after_a_failed_event_of_its_object_is_held_back_and_the_rest_is_not_sent_again() -> None:
    made = broker()
    refuse = {2}
    made.refused = lambda message: message.index in refuse
    publication = Publication([*events(range(5)), event(9, "b")])
    queue = MemoryQueue(made)
    with pytest.raises(Unavailable, match="throttled"):
        await queue.publish(publication)
    assert sorted(stored(made.topics[NAME])) == sorted([event(0).id, event(1).id, event(9, "b").id])
    refuse.clear()
    await queue.publish(publication)
    in_order = [id_ for id_ in stored(made.topics[NAME]) if "uid-a" in id_]
    assert in_order == [e.id for e in events(range(5))]
    assert len(made.topics[NAME].messages) == 6


async def test_each_subscription_has_its_own_progress() -> None:
    made = broker("one", "two")
    made.refused = lambda message: message.target == "one"
    publication = Publication(events([1, 2]))
    with pytest.raises(Unavailable):
        await MemoryQueue(made).publish(publication)
    assert stored(made.topics["one"]) == []
    made.refused = lambda message: message.target == "two"
    await MemoryQueue(made).publish(publication)
    assert stored(made.topics["one"]) == stored(made.topics["two"]) == [e.id for e in events([1, 2])]


async def test_a_call_whose_reply_is_lost_is_repeated_with_the_same_place_in_the_order() -> None:
    made = broker()

    def lose(call: str) -> None:
        made.after = lambda call: None
        raise Unavailable("no reply")

    made.after = lose
    publication = Publication(events([1, 2]), term=Term(7, "me"), number=3)
    with pytest.raises(Unavailable):
        await MemoryQueue(made).publish(publication)
    await MemoryQueue(made).publish(publication)
    (places,) = lanes(made.topics[NAME]).values()
    assert places == [publication.order(0), publication.order(0), publication.order(1)]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50), st.integers(0, 20)), unique=True))
def test_a_later_publication_is_later_in_the_order(places: list[tuple[int, int, int]]) -> None:
    def order(term: int, number: int, index: int) -> str:
        return Publication([], term=Term(term, "x"), number=number).order(index)

    assert sorted(places) == sorted(places, key=lambda place: order(*place))


class Commits:
    """A leader that commits to a broker, with its checkpoint in a file."""

    def __init__(self, queue: MemoryQueue, store: object, term: Term) -> None:
        self.publisher = SplitPublisher(queue, store)  # type: ignore[arg-type]
        self.store = store
        self.term = term
        self.number = 0

    async def acquire(self) -> None:
        self.number = (await self.store.acquire(KEY, self.term)).number  # type: ignore[attr-defined]

    def batch(self, some: Sequence[Event]) -> Batch:
        return Batch(KEY, some, step(self.number))


@pytest.fixture
async def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    bus = await open_bus(SqliteSettings(tmp_path / "store.db"), holder="x")
    yield bus.checkpoints
    await bus.close()


async def test_a_batch_that_is_repeated_goes_on_where_it_stopped(store: object) -> None:
    """100 events of one object, each call may be throttled: the sequence never falls, and nothing is sent twice."""
    made = broker()
    leader = Commits(MemoryQueue(made), store, Term(1, "a"))
    await leader.acquire()
    turns = iter(range(1, 1000))
    made.refused = lambda message: next(turns) % 7 == 0
    batch = leader.batch(events(range(100)))
    for _ in range(50):
        try:
            await leader.publisher.commit(batch, term=leader.term)
            break
        except Unavailable:
            continue
    assert stored(made.topics[NAME]) == [e.id for e in events(range(100))]


async def test_the_next_batch_is_later_in_the_order_also_after_a_store_that_came_back_older(store: object) -> None:
    made = broker()
    leader = Commits(MemoryQueue(made), store, Term(1, "a"))
    await leader.acquire()
    await leader.publisher.commit(leader.batch([event(1)]), term=leader.term)
    await leader.acquire()
    made.refused = lambda message: True
    with pytest.raises(Unavailable):
        await leader.publisher.commit(leader.batch([event(2)]), term=leader.term)
    made.refused = lambda message: False
    again = Batch(KEY, events([2, 3]), CheckpointDelta(follows=leader.number, state=state(9)))
    await leader.publisher.commit(again, term=leader.term)
    (places,) = lanes(made.topics[NAME]).values()
    assert len(places) == 3
    assert places == sorted(set(places))


def until(seconds: float) -> Callable[[], float]:
    """The time left of a term that lasts so long from now."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    return lambda: end - loop.time()


async def test_a_leader_whose_term_is_over_publishes_nothing_more(store: object) -> None:
    """It slept in a call: that one completes, and no other is begun, while the next leader publishes and goes on."""
    made = broker()
    left = [100.0]
    old = Commits(MemoryQueue(made), store, Term(1, "old", lambda: left[0]))
    await old.acquire()
    asleep, awake = asyncio.Event(), asyncio.Event()
    queue = old.publisher._publisher
    send = queue.send  # type: ignore[attr-defined]

    async def slow(target: str, messages: Sequence[Outgoing]) -> object:
        asleep.set()
        await awake.wait()
        return await send(target, messages)

    queue.send = slow  # type: ignore[attr-defined]
    task = asyncio.create_task(old.publisher.commit(old.batch(events(range(200, 220))), term=old.term))
    await asleep.wait()
    left[0] = -1.0
    new = Commits(MemoryQueue(made), store, Term(2, "new"))
    await new.acquire()
    await new.publisher.commit(new.batch(events(range(200, 260))), term=new.term)
    awake.set()
    with pytest.raises(LeadershipLost, match="is over"):
        await task
    (places,) = lanes(made.topics[NAME]).values()
    late = [place for place in places if place.startswith("0000000001")]
    assert len(late) == 1, "the call that it was in"
    assert min(places) == late[0], "which consumers recognize: it is before all of the new leader's"


async def test_a_call_is_not_begun_that_could_outlast_the_term() -> None:
    made = broker()
    publication = Publication([event(1)], term=Term(1, "me", lambda: MemoryQueue.seconds / 2))
    async with raises(Unavailable):
        await MemoryQueue(made).publish(publication)
    assert made.calls == []
    await MemoryQueue(made).publish(Publication([event(1)], term=Term(1, "me", until(60))))
    assert sends(made) == [1]


async def test_a_lead_too_short_for_any_call_is_a_mistake_of_the_operator_and_not_waited_for() -> None:
    made = broker()
    short = Term(1, "me", lambda: MemoryQueue.seconds, MemoryQueue.seconds / 2)
    with pytest.raises(UsageError, match="the lead is certain for"):
        await MemoryQueue(made).publish(Publication([event(1)], term=short))
    assert not sends(made)


@given(
    names=st.lists(st.sampled_from("abc"), min_size=1, max_size=25),
    refused=st.lists(st.booleans(), max_size=60),
    whole=st.booleans(),
)
def test_whatever_fails_each_lane_is_published_in_order_once_it_is_confirmed(
    names: list[str], refused: list[bool], whole: bool
) -> None:
    async def run() -> None:
        made = broker()
        faults = iter(refused)
        made.refused = lambda message: next(faults, False) and not whole

        def before(call: str) -> None:
            if whole and next(faults, False):
                raise Unavailable("the call failed")

        made.before = before
        some = [event(n, name) for n, name in enumerate(names)]
        publication = Publication(some, term=Term(1, "me"), number=1)
        for _ in range(len(refused) + 1):
            try:
                await MemoryQueue(made, whole_lanes=whole).publish(publication)
                break
            except Unavailable:
                continue
        for places in lanes(made.topics[NAME]).values():
            assert places == sorted(places)
        assert sorted(stored(made.topics[NAME])) == sorted(e.id for e in some)

    asyncio.run(run())
