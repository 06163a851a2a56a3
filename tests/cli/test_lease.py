"""Two watchers and a Lease: the lead moves, whichever way the leader goes."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest

from tests.apiserver import LEASES
from tests.cli.rig import SOURCE, Desk
from tests.harness.own_redis import committed

SECONDS = 3
ELECTION = ["--leader-election", "--lease-duration", "3s", "--renew-deadline", "2s", "--retry-period", "400ms"]


async def spec(desk: Desk, name: str = "kubecdc") -> dict[str, Any]:
    found: dict[str, Any] = (await desk.api.get(*LEASES, "default", name))["spec"]
    return found


# Released, it need not expire; and nothing but the Lease decides how long a dead leader counts: 15 s is the default.
GOES = pytest.mark.parametrize(("signal", "within"), [("SIGTERM", SECONDS), ("SIGKILL", SECONDS + 6)])


@GOES
async def test_the_lead_moves_when_the_leader_goes(desk: Desk, signal: str, within: int) -> None:
    await lead_moves(desk, signal, within)


@pytest.mark.long
@GOES
async def test_on_redis_it_moves_as_fast_as_the_options_say(
    redis_desk: Desk, redis_url: str, signal: str, within: int
) -> None:
    await lead_moves(redis_desk, signal, within)
    stream = await committed(redis_url)
    assert len(stream) == len({event.id for event in stream}) == 2
    assert [event.epoch for event in stream] == sorted(event.epoch for event in stream)


async def lead_moves(desk: Desk, signal: str, within: int) -> None:
    async with desk.running("work") as worker, desk.running("watch", *ELECTION) as one:
        await one.until('"leading"')
        async with desk.running("watch", *ELECTION) as other:
            await other.until("standing by")
            await desk.create("before")
            await worker.until('"name":"before"', out=True)
            start = time.monotonic()
            if signal == "SIGTERM":
                one.process.terminate()
            else:
                one.process.kill()
            await desk.create("between")
            await other.until('"leading"')
            assert time.monotonic() - start < within
            assert (await spec(desk))["leaseTransitions"] == 1
            await worker.until('"name":"between"', out=True)
        assert worker.out.count('"name":"between"') == 1
    assert (await spec(desk))["holderIdentity"] == ""


async def test_a_leader_that_loses_the_api_stands_by_and_leads_again(desk: Desk) -> None:
    async with desk.running("watch", *ELECTION) as one:
        await one.until('"leading"')
        desk.api.silence()
        await one.until("no longer the leader, standing by", seconds=2.5)
        desk.api.silence(False)
        await one.until('(?s)"leading".*standing by.*"leading"', seconds=5)


async def test_an_entry_on_leases_does_not_capture_that_of_the_watcher(desk: Desk) -> None:
    """It is renewed every few seconds for as long as somebody leads."""
    desk.entry(group="coordination.k8s.io", version="v1", resource="leases")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "somebody"}}
    async with desk.running("run", *ELECTION) as one:
        await one.until('"listed"')
        first = (await spec(desk))["renewTime"]
        await desk.api.create(*LEASES, "default", {**lease, "metadata": {"name": "mine"}})
        await one.until('"name":"mine"', out=True)
        async with asyncio.timeout(60):
            while (await spec(desk))["renewTime"] == first:
                await asyncio.sleep(0.05)
                await asyncio.sleep(0.05)
        await desk.api.create(*LEASES, "default", {**lease, "metadata": {"name": "later"}})
        await one.until('"name":"later"', out=True)
        assert one.out.count("\n") == 2, one.out


async def test_without_the_option_there_is_no_lease_on_sqlite(desk: Desk) -> None:
    async with desk.running("watch") as one:
        await one.until('"listed"')
    assert (await desk.api.list(*LEASES, "default"))["items"] == []


async def test_a_redis_bus_is_led_by_lease_unless_told_not_to(redis_desk: Desk) -> None:
    async with redis_desk.running("run", "--no-leader-election") as key:
        await key.until('"listed"')
        assert (await redis_desk.api.list(*LEASES, "default"))["items"] == []
        async with redis_desk.running("watch") as lease:
            # It has the Lease, and waits for who leads without: on one bus, both ways of electing exclude each other.
            await lease.until('"lease taken"')
            await lease.until("standing by")
            assert not lease.lines("leading")
            key.process.terminate()
            await lease.until('"leading"')
            found = await spec(redis_desk)
            assert found["leaseDurationSeconds"] == 15
            assert found["holderIdentity"].split("/")[1] == str(lease.process.pid)


async def test_the_help_says_the_durations_of_client_go(desk: Desk) -> None:
    for command in ("watch", "run"):
        done = await desk.call(command, "--help", manifests=False)
        text = " ".join(done.out.split())
        for option, default in (("lease-duration", "15s"), ("renew-deadline", "10s"), ("retry-period", "2s")):
            name = option.upper().replace("-", "_")
            assert re.search(rf"--{option} DURATION [^\[]+\[env var: KUBECDC_{name}; default: {default}\]", text), text
        assert "[default: on, except for a bus in a local file, which a lock protects]" in text, text


@pytest.mark.long
async def test_the_lease_is_where_the_options_say(desk: Desk) -> None:
    await desk.api.make_namespaces("ops", "none")
    desk.environment |= {"KUBECDC_LEADER_ELECTION": "true", "KUBECDC_LEASE_NAME": "cdc"}
    async with desk.running("run", "--lease-namespace", "ops") as one:
        await one.until('"leading"')
        assert [item["metadata"]["name"] for item in (await desk.api.list(*LEASES, "ops"))["items"]] == ["cdc"]
    async with desk.running("watch", "--no-leader-election", "--lease-namespace", "none") as one:
        await one.until('"leading"')
    assert (await desk.api.list(*LEASES, "none"))["items"] == []


async def test_each_bus_has_its_own_lease(desk: Desk) -> None:
    bus = "apiVersion: kubecdc.io/v1alpha1\nkind: EventBus\nmetadata: {{name: {0}}}\n"
    bus += "spec: {{sqlite: {{path: ./{0}.db}}}}\n"
    desk.write("buses.yaml", bus.format("default") + "---\n" + bus.format("east"))
    eastern = SOURCE.replace("{name: workflows}", "{name: eastern}").replace("spec:", "spec:\n  eventBusName: east", 1)
    desk.write("east.yaml", eastern)
    async with desk.running("watch", *ELECTION) as one:
        await one.until('(?s)"event":"leading".*"event":"leading"')
        names = [item["metadata"]["name"] for item in (await desk.api.list(*LEASES, "default"))["items"]]
        assert sorted(names) == ["kubecdc", "kubecdc-east"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lease-duration", "10s"], "--lease-duration 10s must be greater than --renew-deadline 10s"),
        (["--retry-period", "9s"], "--renew-deadline 10s must be greater than 1.2 times --retry-period 9s"),
        (["--retry-period", "0s"], "--retry-period 0s must be above 0"),
        (["--lease-duration", "15"], "'15' is not a duration"),
        (["--lease-name", "My_Lease"], "--lease-name: 'My_Lease' is not a Kubernetes name"),
    ],
)
async def test_durations_that_cannot_be_are_refused(desk: Desk, options: list[str], message: str) -> None:
    done = await desk.call("watch", *options)
    assert (done.code, message in done.err) == (2, True), done.err


async def test_durations_of_the_environment_are_checked_the_same_way(desk: Desk) -> None:
    desk.environment |= {"KUBECDC_RENEW_DEADLINE": "4s", "KUBECDC_RETRY_PERIOD": "3500ms"}
    done = await desk.call("run")
    message = "--renew-deadline 4s must be greater than 1.2 times --retry-period 3.5s"
    assert (done.code, message in done.err) == (2, True), done.err
