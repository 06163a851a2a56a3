"""Odd peers and odd events, as an operator sees what becomes of them."""

from __future__ import annotations

import time

import pytest

from tests.apiserver import WORKFLOWS, workflow
from tests.cli.rig import HTTP, SENSOR, Desk
from tests.workers.raw_peer import raw_peer, says

SECONDS = 15  # for what takes one, unless the machine is busy; the exit has 10
CALLBACK = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: tenant}
spec:
  dependencies: [{name: change, eventSourceName: workflows, eventName: changed}]
  triggers:
  - template:
      name: callback
      http:
        url: http://127.0.0.1:1/
        parameters: [{src: {dependencyName: change, dataKey: body.metadata.annotations.callback}, dest: url}]
"""


def answer(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")


async def localized(desk: Desk) -> None:
    async with raw_peer(says(answer("400 Ungültige Anfrage"), answer("400 Ungültige Anfrage"))) as peer:
        desk.write("sensor.yaml", HTTP.format(url=peer.url))
        async with desk.running("run") as kubecdc:
            for count, name in enumerate(("a", "b"), 1):
                await desk.create(name)
                await kubecdc.until(f'(?s)("event":"dead letter".*){{{count}}}')
        assert not kubecdc.lines("could not be settled")
        assert len(peer.heads) == 2
    reason = f"POST {peer.url}: 400 Ungültige Anfrage"
    assert [row["reason"] for row in await desk.rows("dlq", "list")] == [reason, reason]


async def test_a_localized_reason_phrase_is_one_request_and_one_dead_letter(desk: Desk) -> None:
    await localized(desk)


async def test_a_localized_reason_phrase_is_one_request_and_one_dead_letter_on_redis(redis_desk: Desk) -> None:
    await localized(redis_desk)


@pytest.mark.long
async def test_what_a_peer_said_is_listed_as_it_is(desk: Desk) -> None:
    said = "400 [/b] [red]no[/red] :smile: {x} %s \\"
    async with raw_peer(says(answer(said))) as peer:
        desk.write("sensor.yaml", HTTP.format(url=peer.url))
        async with desk.running("run") as kubecdc:
            await desk.create("a")
            await kubecdc.until('"dead letter"')
    [letter] = await desk.rows("dlq", "list")
    for args in (["list"], ["list", "-o", "yaml"], ["show", str(letter["id"])]):
        done = await desk.call("dlq", *args)
        assert done.code == 0, done.err
        assert said.removesuffix("\\") in done.out


@pytest.mark.long
@pytest.mark.parametrize("callback", ["a" * 200_000, "http://" + "\u0915\u094d\u200d" * 60_000])
async def test_an_event_with_a_long_url_holds_up_no_other_trigger_and_no_exit(desk: Desk, callback: str) -> None:
    desk.write("sensor.yaml", SENSOR)
    desk.write("tenant.yaml", CALLBACK)
    async with desk.running("run") as kubecdc:
        odd = workflow("odd")
        odd["metadata"]["annotations"] = {"callback": callback}
        await desk.api.create(*WORKFLOWS, "default", odd)
        begun = time.monotonic()
        await kubecdc.until('"dead letter"')
        await desk.create("other")
        await kubecdc.until("default/other", out=True)
        assert time.monotonic() - begun < SECONDS
    [letter] = [row for row in await desk.rows("dlq", "list") if str(row["object"]).endswith("/odd")]
    assert "is not an HTTP address" in str(letter["reason"])
    assert len(str(letter["reason"])) < 1000
