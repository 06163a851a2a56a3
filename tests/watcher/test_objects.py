"""`inventory: objects`: events know what the object was before, also where the watch did not see it."""

from __future__ import annotations

from tests.watcher.rig import Rig, announced_once, data, event_source, told

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
    assert [(e["type"], e["body"]["spec"]["n"]) for e in events] == [("ADD", 1), ("DELETE", 1), ("UPDATE", 3)]
    assert events[2]["oldBody"] == hidden


SHOWN = event_source(inventory="objects", filter={"fields": [{"key": "spec.shown", "value": "true"}]})


async def test_an_object_that_passes_the_fields_no_more_ends_as_one_that_left_the_labels(bench: Rig) -> None:
    shown = await bench.create("a", shown=True)
    await bench.create("other", shown=False)
    await bench.start(SHOWN)
    await bench.watching()
    hidden = await bench.update("a", {"spec": {"shown": False}})
    await bench.update("a", {"spec": {"n": 1}})
    await bench.update("other", {"spec": {"n": 1}})
    await bench.update("a", {"spec": {"shown": True}})
    await bench.update("a", {"spec": {"shown": False}})
    await bench.delete("a")  # its end has been told
    events = await bench.events(shown=True)
    assert told(events) == ["ADD a", "DELETE a", "UPDATE a", "DELETE a"]
    assert [e.deselected for e in events] == [False, True, False, True]
    assert data(events[1])["body"] == shown
    assert events[1].id == f"changed.{shown['metadata']['uid']}.{hidden['metadata']['resourceVersion']}.DELETE"
    announced_once(events)


async def test_so_does_one_that_changed_while_nobody_watched(bench: Rig) -> None:
    shown = await bench.create("a", shown=True)
    await bench.start(SHOWN)
    await bench.events(shown=True)
    await bench.kill()
    await bench.update("a", {"spec": {"shown": False}})
    await bench.api.expire_history()
    await bench.start(SHOWN)
    await bench.watching()
    (event,) = await bench.events(shown=True)
    assert (told([event]), event.deselected, data(event)["body"]) == (["~DELETE a"], True, shown)
    await bench.kill()
    await bench.api.expire_history()
    await bench.start(SHOWN)
    assert await bench.events(shown=True) == []


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
