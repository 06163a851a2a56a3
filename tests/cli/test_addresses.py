"""`--allow-addresses` and `--deny-addresses`, which limit where triggers connect to."""

from __future__ import annotations

import json

import pytest

from tests.cli.rig import HTTP, Desk
from tests.cli.test_try import EVENT
from tests.harness.processes import until
from tests.workers.peer import saying, serving

CHOSEN = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: post}}
spec:
  dependencies: [{{name: change, eventSourceName: workflows, eventName: changed}}]
  triggers:
  - template: {{name: send, http: {{url: "http://receiver.example/"}}}}
    parameters: [{{src: {{dependencyName: change, value: "{url}"}}, dest: http.url}}]
"""


async def test_events_wait_until_the_rule_or_the_manifest_is_corrected(desk: Desk) -> None:
    async with serving(saying(200)) as peer:
        desk.write("sensor.yaml", HTTP.format(url=peer.url))
        await desk.create("one")
        async with desk.running("run", "--deny-addresses", "169.254.0.0/16,127.0.0.0/8") as run:
            await run.until("127.0.0.1 is refused by --deny-addresses 127.0.0.0/8")
        assert not peer.received
        assert await desk.rows("dlq", "list") == []
        desk.environment["KUBECDC_ALLOW_ADDRESSES"] = "127.0.0.1 10.0.0.0/8"
        async with desk.running("run"):
            await until(lambda: peer.received, 60, "the event")
    assert json.loads(peer.received[0].body)["body"]["metadata"]["name"] == "one"


async def test_what_an_event_has_chosen_is_a_dead_letter(desk: Desk) -> None:
    async with serving(saying(200)) as peer:
        desk.write("sensor.yaml", CHOSEN.format(url=peer.url))
        await desk.create("one")
        async with desk.running("run", "--allow-addresses", "receiver.example") as run:
            await run.until("127.0.0.1 is not among --allow-addresses")
            letters = await desk.rows("dlq", "list")
    assert [letter["object"] for letter in letters] == ["workflows.argoproj.io/default/one"]
    assert "correct the address, or the rule" in letters[0]["reason"]
    assert not peer.received


async def test_try_says_it_before_anything_is_sent(desk: Desk) -> None:
    (desk.folder / "event.json").write_text(json.dumps(EVENT))
    async with serving(saying(200)) as peer:
        desk.write("sensor.yaml", HTTP.format(url=peer.url))
        given = "try", "--event", str(desk.folder / "event.json"), "--deny-addresses", "127.0.0.0/8"
        done = await desk.call(*given)
        assert (done.code, json.loads(done.out)["request"]) == (1, None)
        assert "127.0.0.1 is refused by --deny-addresses" in json.loads(done.out)["reason"]
        desk.write("sensor.yaml", HTTP.format(url=peer.url.replace("127.0.0.1", "localhost")))
        done = await desk.call(*given)
        assert (done.code, json.loads(done.out)["reason"]) == (0, None), "a name is not looked up"
        done = await desk.call(*given, "--execute")
        assert (done.code, json.loads(done.out)["outcome"]["result"]) == (1, "retry")
    assert not peer.received


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--allow-addresses", "10.0.0.1/8", "10.0.0.1/8 has host bits set: write 10.0.0.0/8"),
        ("--deny-addresses", "metadata.internal", "a name cannot be denied"),
        ("--allow-addresses", "", "one of them is empty"),
    ],
)
async def test_a_rule_that_is_none_ends_the_command(desk: Desk, option: str, value: str, why: str) -> None:
    done = await desk.call("work", option, value)
    assert done.code == 2
    assert why in done.err
