"""`inventory: objects`: events know what the object was before, also where the watch did not see it."""

from __future__ import annotations

from tests.watcher.rig import Rig, data, event_source, told

OBJECTS = event_source(inventory="objects")


async def test_an_update_carries_the_body_before(bench: Rig) -> None:
    made = await bench.create("a", n=1)
    await bench.start(OBJECTS)
    await bench.watching()
    second = await bench.update("a", {"spec": {"n": 2}})
    third = await bench.update("a", {"spec": {"n": 3}})
    await bench.delete("a")
    events = [data(e) for e in await bench.events()]
    assert [e["type"] for e in events] == ["ADD", "UPDATE", "UPDATE", "DELETE"]
    assert [e["oldBody"] for e in events] == [None, made, second, None]
    assert events[2]["body"] == third


async def test_the_body_before_survives_a_restart_and_a_gap(bench: Rig) -> None:
    first = await bench.create("a", n=1)
    gone = await bench.create("b", n=1)
    await bench.start(OBJECTS)
    await bench.events()
    await bench.kill()
    last = await bench.update("a", {"spec": {"n": 2}})
    await bench.delete("b")
    again = await bench.create("b", n=2)
    await bench.api.expire_history()
    await bench.start(OBJECTS)
    await bench.watching()
    events = await bench.events()
    assert told(events) == ["~UPDATE a", "~DELETE b", "~ADD b"]
    update, delete, add = map(data, events)
    assert (update["oldBody"], update["body"]) == (first, last)
    # Of what was deleted unseen, the last body that was seen.
    assert (delete["body"], add["body"]) == (gone, again)


async def test_filtered_changes_are_remembered_too(bench: Rig) -> None:
    source = event_source(inventory="objects", filter={"fields": [{"key": "spec.n", "value": "^[13]$"}]})
    await bench.create("a", n=1)
    await bench.start(source)
    await bench.watching()
    hidden = await bench.update("a", {"spec": {"n": 2}})
    await bench.update("a", {"spec": {"n": 3}})
    events = [data(e) for e in await bench.events(n=1)]
    assert [e["body"]["spec"]["n"] for e in events] == [1, 3]
    assert events[1]["oldBody"] == hidden


async def test_turning_it_on_keeps_the_bodies_from_then_on(bench: Rig) -> None:
    made = await bench.create("a", n=1)
    await bench.start()
    await bench.events()
    await bench.kill()
    await bench.start(OBJECTS)
    await bench.watching()
    await bench.update("a", {"spec": {"n": 2}})
    (event,) = await bench.events()
    assert data(event)["oldBody"] == made
