"""Dead letters and replays, as a user handles them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from aiohttp import web

from tests.apiserver import WORKFLOWS
from tests.cli.rig import HTTP, SENSOR, Desk
from tests.harness.other_program import other_program


class Taken(NamedTuple):
    """A request that was answered with 200."""

    name: str
    event: str
    key: str
    redelivery: str | None


@dataclass
class Receiver:
    """Answers what it is told to, and notes what it took."""

    status: int = 200
    url: str = ""
    taken: list[Taken] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        if self.status == 200:
            name = request.headers["ce-partitionkey"].rpartition("/")[2]
            headers = request.headers
            self.taken.append(Taken(name, headers["ce-id"], headers["Idempotency-Key"], headers.get("ce-redelivery")))
            self.more.set()
        return web.Response(status=self.status)

    async def until(self, count: int) -> list[str]:
        """The names of what was taken, once there are so many."""
        async with asyncio.timeout(60):
            while len(self.taken) < count:
                self.more.clear()
                await self.more.wait()
        return [taken.name for taken in self.taken]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def given_up(desk: Desk, receiver: Receiver) -> Desk:
    """Three events, each refused for good by the receiver, and no process running."""
    desk.write("sensor.yaml", HTTP.format(url=receiver.url))
    receiver.status = 400
    async with desk.running("run") as kubecdc:
        for count, name in enumerate(("a", "b", "c"), 1):
            await desk.create(name)
            # One after the other: objects have no order among themselves.
            await kubecdc.until(f'(?s)("event":"dead letter".*){{{count}}}')
    receiver.status = 200
    return desk


async def listed(desk: Desk, *args: str) -> list[dict[str, object]]:
    done = await desk.call("dlq", "list", "-o", "json", *args)
    assert done.code == 0, done.err
    rows: list[dict[str, object]] = json.loads(done.out)
    return rows


async def test_dead_letters_are_listed_and_shown(given_up: Desk) -> None:
    rows = await listed(given_up)
    assert [str(row["object"]).rpartition("/")[2] for row in rows] == ["a", "b", "c"]
    assert {row["subscription"] for row in rows} == {"post/send"}
    assert all("400" in str(row["reason"]) and row["attempts"] == 1 and row["bus"] == "default" for row in rows)
    table = await given_up.call("dlq", "list", "--limit", "2")
    heading, *lines = table.out.splitlines()
    assert heading.split() == ["ID", "SUBSCRIPTION", "OBJECT", "SUPERSEDED", "WHEN"]
    assert [line.split()[0] for line in lines] == [str(rows[0]["id"]), "reason:", str(rows[1]["id"]), "reason:"]
    assert "there are more than 2 dead letters: use --limit" in table.err
    given_up.write("other.yaml", SENSOR)
    assert (await given_up.call("bus", "ensure")).code == 0
    assert await listed(given_up, "--subscription", "post/send") == rows
    assert await listed(given_up, "--subscription", "print/line") == []

    first = str(rows[0]["id"])
    one = json.loads((await given_up.call("dlq", "show", first, "-o", "json")).out)
    assert one["content"]["id"] == one["event"] == rows[0]["event"]
    assert one["content"]["data"]["body"]["metadata"]["name"] == "a"
    assert yaml.safe_load((await given_up.call("dlq", "show", first, "-o", "yaml")).out) == one
    plain = (await given_up.call("dlq", "show", first)).out
    assert '"partitionkey": "workflows.argoproj.io/default/a"' in plain
    assert f"reason:       {one['reason']}" in plain
    unknown = await given_up.call("dlq", "show", "99")
    assert (unknown.code, "no dead letter 99" in unknown.err) == (1, True)


async def test_dead_letters_are_redriven_under_the_same_key(given_up: Desk, receiver: Receiver) -> None:
    rows = await listed(given_up)
    done = await given_up.call("dlq", "redrive", str(rows[1]["id"]), "77")
    assert (done.code, done.out) == (1, "1 redriven\n")
    assert "77 not redriven: there is no such" in done.err
    async with given_up.running("work"):
        assert await receiver.until(1) == ["b"]
        done = await given_up.call("dlq", "redrive", "--all", "--subscription", "post/send")
        assert (done.code, done.out, done.err) == (0, "2 redriven\n", "")
        assert sorted(await receiver.until(3)) == ["a", "b", "c"]
    assert receiver.taken[0].event == rows[1]["event"]
    assert {taken.redelivery for taken in receiver.taken} == {"redrive"}
    assert await listed(given_up) == []


@pytest.mark.long
async def test_what_is_superseded_is_not_redriven_unless_that_is_said(given_up: Desk, receiver: Receiver) -> None:
    async with given_up.running("run"):
        await given_up.api.patch(*WORKFLOWS, "default", "a", {"metadata": {"labels": {"phase": "done"}}})
        assert await receiver.until(1) == ["a"]
        async with asyncio.timeout(60):
            while (rows := await listed(given_up))[0]["superseded"] is False:
                pass
    assert receiver.taken[0].redelivery is None
    assert [row["superseded"] for row in rows] == [True, False, False]

    for args in (["--all"], [str(rows[0]["id"]), str(rows[1]["id"])]):
        done = await given_up.call("dlq", "redrive", *args)
        assert (done.code, done.out) == (2, "")
        assert f"1 of {3 if args == ['--all'] else 2} dead letters is superseded" in done.err
        assert "--superseded skip" in done.err
    assert len(await listed(given_up)) == 3
    done = await given_up.call("dlq", "redrive", "--all", "--superseded", "skip")
    assert (done.code, done.out) == (0, "2 redriven, 1 skipped\n")
    assert [row["id"] for row in await listed(given_up)] == [rows[0]["id"]]
    done = await given_up.call("dlq", "redrive", "--all", "--superseded", "deliver")
    assert (done.code, done.out) == (0, "1 redriven\n")
    async with given_up.running("work"):
        assert sorted(await receiver.until(4)) == ["a", "a", "b", "c"]
    old = next(taken for taken in receiver.taken if taken.event == rows[0]["event"])
    assert old.redelivery == "redrive"


async def test_where_it_is_not_known_what_is_superseded_that_is_said(given_up: Desk) -> None:
    with other_program(given_up.folder / "kubecdc.db") as db:  # as an earlier version has left them
        db.execute("UPDATE dead_letters SET superseded = NULL")
    assert {row["superseded"] for row in await listed(given_up)} == {"unknown"}
    done = await given_up.call("dlq", "redrive", "--all")
    assert (done.code, done.out) == (2, "")
    assert "the bus cannot tell (3)" in done.err
    assert (await given_up.call("dlq", "redrive", "--all", "--superseded", "skip")).out == "0 redriven, 3 skipped\n"
    assert (await given_up.call("dlq", "redrive", "--all", "--superseded", "deliver")).out == "3 redriven\n"


@pytest.mark.long
async def test_a_letter_of_a_pruned_subscription_stays_and_says_why(given_up: Desk) -> None:
    given_up.write("sensor.yaml", SENSOR)
    async with given_up.running("work") as work:
        await work.until("bus")
    assert (await given_up.call("bus", "prune", "--yes")).code == 0
    done = await given_up.call("dlq", "redrive", "--all")
    assert (done.code, done.out) == (1, "0 redriven\n")
    assert done.err.count("its subscription 'post/send' was ended") == 3
    assert len(await listed(given_up)) == 3


@pytest.mark.long
async def test_a_purge_asks_and_forgets(given_up: Desk) -> None:
    first = str((await listed(given_up))[0]["id"])
    asked = await given_up.call("dlq", "purge", first)
    assert "Delete 1 dead letter permanently?" in asked.err
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert len(await listed(given_up)) == 3
    assert (await given_up.call("dlq", "purge", first, "--yes")).out == "1 purged\n"
    assert (await given_up.call("dlq", "purge", "--all", "--yes")).out == "2 purged\n"
    assert (await given_up.call("dlq", "list")).out == "no dead letters\n"


@pytest.mark.long
@pytest.mark.parametrize("args", [[], ["1", "--all"], ["1", "--subscription", "x"], ["--all", "--bus", "other"]])
async def test_which_letters_must_be_said_plainly(given_up: Desk, args: list[str]) -> None:
    for command in ("redrive", "purge"):
        done = await given_up.call("dlq", command, *args)
        assert (done.code, done.out) == (2, ""), (command, args)
    assert len(await listed(given_up)) == 3


async def test_with_several_buses_one_must_be_named(given_up: Desk) -> None:
    for name, path in (("default", "kubecdc.db"), ("second", "second.db")):
        given_up.write(
            f"bus-{name}.yaml",
            "apiVersion: argoproj.io/v1alpha1\nkind: EventBus\n"
            f"metadata: {{name: {name}}}\nspec: {{sqlite: {{path: {path}}}}}\n",
        )
    for command in (["dlq", "redrive", "--all"], ["dlq", "show", "1"], ["replay", "--subscription", "post/send"]):
        done = await given_up.call(*command)
        assert (done.code, "default, second" in done.err, "--bus" in done.err) == (2, True, True), done.err
    assert len(await listed(given_up, "--bus", "default")) == 3
    assert (await given_up.call("dlq", "show", "1", "--bus", "default")).code == 0


@pytest.fixture
async def delivered(desk: Desk, receiver: Receiver) -> Desk:
    """Three events, delivered; no process running."""
    desk.write("sensor.yaml", HTTP.format(url=receiver.url))
    async with desk.running("run"):
        for name in ("a", "b", "c"):
            await desk.create(name)
        await receiver.until(3)
    receiver.taken.clear()
    return desk


async def test_a_replay_says_how_many_asks_and_delivers_again(delivered: Desk, receiver: Receiver) -> None:
    to = ("replay", "--subscription", "post/send")
    assert (await delivered.call(*to, "--dry-run")).out == "3 events to replay\n"
    asked = await delivered.call(*to)
    assert (asked.code, "Deliver 3 events" in asked.err, "--yes" in asked.err) == (2, True, True)
    done = await delivered.call(*to, "--since", "1h", "--yes")
    assert done.out == "3 events will be delivered to post/send again\n"
    assert done.err == ""
    async with delivered.running("work"):
        assert sorted(await receiver.until(3)) == ["a", "b", "c"]
        a, b, c = sorted(receiver.taken)
        assert a.redelivery == "replay"
        done = await delivered.call(*to, "--from", b.event, "--yes")
        assert done.out == "2 events will be delivered to post/send again\n", done.err
        await receiver.until(5)
        done = await delivered.call(*to, "--object", "workflows/default/c", "--yes")
        assert done.out == "1 event will be delivered to post/send again\n"
        await receiver.until(6)
    assert sorted(receiver.taken) == [a, b, b, c, c, c], "the same events under the same keys"


async def test_a_replay_says_how_far_back_it_reaches(delivered: Desk) -> None:
    delivered.write(
        "bus.yaml",
        "apiVersion: argoproj.io/v1alpha1\nkind: EventBus\nmetadata: {name: default}\n"
        "spec: {sqlite: {path: kubecdc.db}, retention: 1ms}\n",
    )
    async with delivered.running("run") as kubecdc:
        await kubecdc.until("leading")
        async with asyncio.timeout(60):
            while (done := await delivered.call("replay", "--subscription", "post/send", "--since", "1h")).err == "":
                pass
    assert done.err.startswith("events committed up to 20")
    assert (done.code, done.out) == (0, "0 events to replay\n")


async def test_since_takes_a_time_or_an_age(delivered: Desk) -> None:
    to = ("replay", "--subscription", "post/send", "--dry-run")
    soon = datetime.now(UTC) + timedelta(hours=1)
    for since, expected in (
        ("2020-01-01", 3),
        ("2020-01-01T00:00:00+02:00", 3),
        (soon.isoformat(), 0),
        (soon.strftime("%Y-%m-%dT%H:%M:%SZ"), 0),
        (soon.replace(tzinfo=None).isoformat(), 0),
        ("10h", 3),
    ):
        done = await delivered.call(*to, "--since", since)
        assert (done.code, done.out) == (0, f"{expected} events to replay\n"), since


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--subscription", "post/send", "--since", "yesterday"], "neither a time nor a duration"),
        (["--subscription", "post/send", "--since", "-1h"], "negative"),
        (["--subscription", "post/send", "--object", "a"], "NAMESPACE/NAME"),
        (["--subscription", "post/send", "--object", "a/b/c/d"], "NAMESPACE/NAME"),
        (["--subscription", "post/send", "--from", "changed.x.1.ADD"], "not retained"),
        ([], "--subscription"),
    ],
)
async def test_what_cannot_be_replayed_is_a_usage_error(delivered: Desk, args: list[str], text: str) -> None:
    done = await delivered.call("replay", *args, "--yes")
    assert (done.code, text in done.err) == (2, True), done.err


async def test_a_subscription_to_replay_to_that_is_not_there_is_an_error(delivered: Desk) -> None:
    done = await delivered.call("replay", "--subscription", "nobody", "--yes")
    assert (done.code, "no subscription 'nobody'" in done.err) == (1, True), done.err


async def test_without_a_bus_there_is_nothing_to_list(desk: Desk, tmp_path: Path) -> None:
    for command in (["dlq", "list"], ["dlq", "redrive", "--all"], ["replay", "--subscription", "x"]):
        done = await desk.call(*command)
        assert (done.code, "no bus at" in done.err) == (2, True)
    assert not (tmp_path / "kubecdc.db").exists()
