"""What a person who looks at the Deployment of kubecdc sees there: triggers that fail for all objects, once."""

from __future__ import annotations

import yaml

from tests.apiserver import WORKFLOWS, workflow
from tests.cli.rig import HTTP, SOURCE, Desk
from tests.cli.test_outage import BUS, BUSES, Receiver
from tests.cluster.test_recorder import make_pod, written
from tests.workers.peer import serving

OBJECTS = 8  # more than a breaker needs


async def test_a_breaker_that_opens_is_an_event_on_the_deployment_that_is_not_captured(desk: Desk) -> None:
    """Although an entry captures all Events, and its trigger is the one that fails."""
    source = yaml.safe_load(SOURCE)
    entry = {"group": "", "version": "v1", "resource": "events", "eventTypes": ["ADD"]}
    source["spec"]["resource"]["events"] = entry
    desk.write("source.yaml", yaml.safe_dump(source))
    receiver = Receiver()
    uid = await make_pod(desk.api)
    desk.environment["POD_NAME"] = "kubecdc-watch-5c9-x"
    async with serving(receiver.answer) as peer:
        events = yaml.safe_load(HTTP.format(url=peer.url))
        events["spec"]["dependencies"].append({"name": "note", "eventSourceName": "workflows", "eventName": "events"})
        events["spec"]["triggers"][0]["template"]["conditions"] = "change || note"
        bus = BUS.format(bus=BUSES["sqlite"].format(url=""))
        desk.write("sensor.yaml", f"{bus}---\n{yaml.safe_dump(events)}")
        for n in range(OBJECTS):
            await desk.api.create(*WORKFLOWS, "default", workflow(f"w{n}"))
        async with desk.running("run") as kubecdc:
            await kubecdc.until('"code":"breaker-opened"')
            (event,) = await written(desk.api)
            note = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "foreign"}, "involvedObject": {}}
            await desk.api.create("", "v1", "events", "default", note)
            receiver.status = 200
            await receiver.until(OBJECTS + 1, 1)
            assert len(await written(desk.api)) == 1
    assert (event["reason"], event["involvedObject"]["kind"], event["involvedObject"]["uid"]) == (
        "BreakerOpened",
        "Deployment",
        uid,
    )
    assert "the trigger post/send fails for all objects" in event["message"]
    assert set(receiver.taken) == {*(f"w{n}" for n in range(OBJECTS)), "foreign"}
