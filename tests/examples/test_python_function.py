"""The example of Python functions as triggers, as users run it, and its own tests."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import yaml
from tracker.test_handlers import (
    test_a_database_that_is_away_is_tried_again,
    test_a_workflow_of_nobody_is_refused,
    test_the_newest_state_stays,
)

from tests.apiserver import WORKFLOWS
from tests.cli.rig import Desk
from tests.cli.test_try import EVENT

__all__ = [  # the example's own tests, which run here too
    "test_a_database_that_is_away_is_tried_again",
    "test_a_workflow_of_nobody_is_refused",
    "test_the_newest_state_stays",
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "python-function"


def place(desk: Desk) -> None:
    """The example's manifests, and its package where it is imported from."""
    for file in desk.manifests.iterdir():
        file.unlink()
    for name in ("eventsource.yaml", "sensor.yaml"):
        shutil.copy(EXAMPLE / name, desk.manifests)
    desk.environment["PYTHONPATH"] = str(EXAMPLE)


def runs(desk: Desk) -> dict[str, tuple[str, int]]:
    """The state of each Workflow in the database of the example."""
    file = desk.folder / "runs.db"
    if not file.exists():
        return {}
    with closing(sqlite3.connect(file)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
            return {}
        return {name: (phase, deleted) for name, phase, deleted in db.execute("SELECT name, phase, deleted FROM runs")}


async def test_events_reach_the_handlers_and_what_one_discards_is_a_dead_letter(desk: Desk) -> None:
    place(desk)
    async with desk.running("run") as running:
        await desk.create("one")
        await desk.create("two")
        await running.until("default/two has no label `team`")
        phase = {"metadata": {"labels": {"workflows.argoproj.io/phase": "Succeeded", "team": "ml"}}}
        await desk.api.patch(*WORKFLOWS, "default", "one", phase)
        await desk.api.delete(*WORKFLOWS, "default", "two")
        async with asyncio.timeout(60):
            while runs(desk) != {"one": ("Succeeded", 0), "two": ("Pending", 1)}:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)
        await running.until('"saved"')
    letters = await desk.rows("dlq", "list")
    assert {letter["subscription"] for letter in letters} == {"tracker/check"}


async def test_without_the_package_what_runs_triggers_says_so_and_the_watcher_starts(desk: Desk) -> None:
    place(desk)
    del desk.environment["PYTHONPATH"]
    done = await desk.call("validate")
    assert done.code == 2
    assert (
        f"{desk.manifests}/sensor.yaml, document 1, Sensor/tracker: spec.triggers[0].template.function.handler: module "
        "`tracker.handlers` cannot be imported: ModuleNotFoundError: No module named 'tracker'; install its package"
    ) in done.err
    async with desk.running("watch") as running:
        await running.until('"leading"')


HANGING = """
import time
from pathlib import Path

def sleeps(event, context):
    Path(f"begun-{context.trigger}").touch()
    time.sleep(3600)

async def blocks(event, context):
    sleeps(event, context)
"""


async def test_handlers_that_hang_do_not_hold_up_other_triggers_or_the_end(desk: Desk) -> None:
    place(desk)
    (desk.folder / "hanging.py").write_text(HANGING)
    desk.environment["PYTHONPATH"] = str(desk.folder)
    sensor = yaml.safe_load((EXAMPLE / "sensor.yaml").read_text())
    sensor["spec"]["triggers"] = [
        {"template": {"name": "sleeps", "function": {"handler": "hanging:sleeps"}}},
        {"template": {"name": "blocks", "function": {"handler": "hanging:blocks"}}},
        {"template": {"name": "print", "log": {}}},
    ]
    desk.write("sensor.yaml", yaml.safe_dump(sensor))
    async with desk.running("run") as running:
        await desk.create("one")
        await running.until('"name":"one"', out=True)
        async with asyncio.timeout(60):
            while {file.name for file in desk.folder.glob("begun-*")} != {"begun-sleeps", "begun-blocks"}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await desk.create("two")
        await running.until('"name":"two"', out=True)
    assert running.process.returncode == 0
    rows = {row["subscription"]: row["pending"] for row in await desk.rows("bus", "show")}
    assert rows == {"tracker/sleeps": 2, "tracker/blocks": 2, "tracker/print": 0}


async def test_try_shows_the_call_and_makes_it(desk: Desk) -> None:
    place(desk)
    body = {"metadata": {"name": "w1", "uid": "u", "labels": {"team": "ml"}}}
    event = json.dumps({**EVENT, "data": {"type": "ADD", "body": body}})
    done = await desk.call("try", "--event", "-", stdin=event)
    assert done.code == 0, done.err
    save, check = (json.loads(line)["request"] for line in done.out.splitlines())
    assert (save["handler"], save["args"]) == ("tracker.handlers:save", {"database": "./runs.db"})
    assert (check["args"], check["event"]["data"]["body"]) == ({"team": "ml"}, body)
    assert runs(desk) == {}
    done = await desk.call("try", "--event", "-", "--execute", stdin=event)
    assert [json.loads(line)["outcome"] for line in done.out.splitlines()] == [{"result": "success"}] * 2
    assert runs(desk) == {"w1": ("Pending", 0)}
