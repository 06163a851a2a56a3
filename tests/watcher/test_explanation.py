"""At debug level the log says of each change why it became an event, or none."""

from __future__ import annotations

from typing import Any

import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.harness.processes import until
from tests.watcher.rig import KEY, Rig, event_source


def told(lines: list[EventDict], name: str) -> list[tuple[str, str, str]]:
    """The code, type and reason of each line about an object."""
    found = [line for line in lines if line.get("code") in {"change-matched", "change-filtered"}]
    assert all((line["log_level"], line["watch"]) == ("debug", KEY) for line in found)
    return [(i["code"], i.get("type", ""), i.get("reason", "")) for i in found if i["object"].endswith(f"/{name}")]


async def capture(bench: Rig, **entry: Any) -> list[EventDict]:
    """The lines about changes of three objects, one of which was there before the start."""
    await bench.create("job-old")
    with capture_logs() as lines:
        await bench.start(event_source(**entry))
        await until(lambda: any(line.get("code") == "listed" for line in lines), 60, "the first list")
        await bench.create("job-new")
        await bench.create("other")
        await bench.update("job-old", {"metadata": {"labels": {"a": "b"}}})
        await bench.events()
    return lines


async def test_the_log_says_which_field_keeps_a_change_from_being_an_event(bench: Rig) -> None:
    lines = await capture(bench, eventTypes=["ADD"], initialList="skip", filter={"fields": [OLD]})
    assert told(lines, "job-new") == [("change-matched", "", "")]
    assert told(lines, "other") == [("change-filtered", "ADD", "filter.fields")]
    assert told(lines, "job-old") == [
        ("change-filtered", "ADD", "initialList"),
        ("change-filtered", "UPDATE", "eventTypes"),
    ]
    matched = next(line for line in lines if line["code"] == "change-matched" and line["object"].endswith("job-new"))
    assert matched["event_id"].startswith("changed.")


async def test_above_debug_nothing_is_said_of_a_change(bench: Rig) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))
    try:
        lines = await capture(bench)
    finally:
        structlog.reset_defaults()
    assert {line["code"] for line in lines} >= {"listing", "listed"}
    assert not any(line["log_level"] == "debug" for line in lines)


OLD = {"key": "metadata.name", "operation": "!=", "value": "^other$"}
