"""Leader election on a Lease, on a simulated API server."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.own_objects import ANNOTATION
from kubecdc.current import Current
from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts import CheckpointStore, Term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.watcher import watcher
from kubecdc.watcher.election import settings
from kubecdc.watcher.election.clock import SystemClock, Timing
from kubecdc.watcher.election.elector import LeaseElector
from kubecdc.watcher.election.lease import EPOCH
from kubecdc.watcher.election.settings import LeaseSettings, home_namespace
from kubecdc.watcher.manifest import entries_of
from tests.apiserver import LEASES, RequestFailed, simulator
from tests.watcher.booth import QUICK, Booth, Cut, Cutting, put
from tests.watcher.rig import KEY, SPEC, Rig, event_source, told

MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
async def booth(bench: Rig) -> Booth:
    return Booth(bench.api, await bench.open(), bench.kubeconfig)


async def until(condition: Any, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - the condition is the server's
            await asyncio.sleep(0.02)


async def test_the_first_makes_the_lease_as_client_go_would_and_renews_it(booth: Booth) -> None:
    async with booth.candidate("one") as one, one.lead() as term:
        made = await booth.lease()
        assert term == Term(1, one.identity)
        assert made["spec"] == {
            "holderIdentity": one.identity,
            "leaseDurationSeconds": 2,
            "acquireTime": made["spec"]["acquireTime"],
            "renewTime": made["spec"]["acquireTime"],
            "leaseTransitions": 0,
        }
        assert MICRO_TIME.fullmatch(made["spec"]["acquireTime"])
        assert made["metadata"]["annotations"] == {EPOCH: "1", ANNOTATION: "true"}

        async def renewed() -> bool:
            return bool((await booth.lease())["spec"]["renewTime"] > made["spec"]["renewTime"])

        await until(renewed)
        later = await booth.lease()
    for kept in ("holderIdentity", "acquireTime", "leaseTransitions"):
        assert later["spec"][kept] == made["spec"][kept]


async def test_the_lease_is_released_when_the_work_is_over_and_the_next_takes_it_at_once(booth: Booth) -> None:
    over = False

    async def follow() -> tuple[Term, float, bool]:
        async with booth.candidate("other") as other, other.lead() as term:
            return term, time.monotonic(), over

    async with booth.candidate("one") as one:
        async with one.lead():
            following = asyncio.create_task(follow())
            await asyncio.sleep(2.5)  # longer than the lease lasts without renewal
            assert not following.done()
            over = True
        left, released = time.monotonic(), await booth.lease()
        term, began, was_over = await following
    assert (released["spec"]["holderIdentity"], released["spec"]["leaseDurationSeconds"]) == ("", 1)
    assert released["spec"]["leaseTransitions"] == 0
    assert was_over
    assert began - left < 1.8  # without the release it is the lease's duration, 2 s
    assert term.number == 2
    assert (await booth.lease())["spec"]["leaseTransitions"] == 1


async def test_a_holder_that_died_is_replaced_when_its_lease_has_not_changed_for_its_duration(booth: Booth) -> None:
    # The times are of another age: whoever judged by them would take over at once, or never.
    for stamp, holder in (("1999-01-01T00:00:00.000000Z", "past"), ("2999-01-01T00:00:00.000000Z", "future")):
        await put(booth, holder, duration=1, stamp=stamp, transitions=6)
        start = time.monotonic()
        async with booth.candidate("one") as one, one.lead() as term:
            assert time.monotonic() - start >= 1.0  # its duration
            spec = (await booth.lease())["spec"]
            assert (spec["holderIdentity"], spec["leaseTransitions"], term.holder) == (one.identity, 7, one.identity)


async def test_a_holder_that_died_is_replaced_though_others_touch_its_lease(booth: Booth) -> None:
    await put(booth, "dead", duration=1, stamp="2026-01-01T00:00:00.000000Z", transitions=6)

    async def touch() -> None:
        for count in itertools.count():
            metadata = {"annotations": {"touched": str(count)}, "labels": {"touched": str(count)}}
            await booth.api.patch(*LEASES, "default", "kubecdc", {"metadata": metadata})
            await asyncio.sleep(0.3)

    touching = asyncio.create_task(touch())
    try:
        start = time.monotonic()
        async with asyncio.timeout(10), booth.candidate("one") as one, one.lead():
            assert time.monotonic() - start >= 1.0
            lease = await booth.lease()
            assert (lease["spec"]["holderIdentity"], "touched" in lease["metadata"]["labels"]) == (one.identity, True)
    finally:
        touching.cancel()
        await asyncio.gather(touching, return_exceptions=True)


@pytest.mark.parametrize("step", [100, 0], ids=["jumps", "stands still"])
async def test_a_time_of_day_that_is_wrong_has_no_effect(booth: Booth, step: int) -> None:
    class Wrong(SystemClock):
        days = 0

        def wall(self) -> datetime:
            Wrong.days = (Wrong.days + step) % 731
            return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=Wrong.days)

    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(booth.candidate(h, timing=Timing(Wrong()))) for h in ("one", "other")
        ]
        await stack.enter_async_context(one.lead())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3), other.lead():
                pass
        assert one.trusted


@pytest.mark.parametrize("fault", ["hangs", "hangs without end", "fails"])
async def test_the_work_is_cancelled_inside_the_trust_window_and_another_leads_only_after(
    booth: Booth, fault: Cutting
) -> None:
    """One is cut off from the server, the other is not."""
    cancelled: list[float] = []
    began: list[float] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(time.monotonic())

    async with booth.candidate("one") as one, booth.candidate("other") as other:
        wire = one._lease.client = Cut(one._lease.client)

        async def follow() -> None:
            async with other.lead():
                began.append(time.monotonic())

        with pytest.raises(LeadershipLost, match=r"the Lease default/kubecdc could not be renewed for 1 s"):
            async with one.lead():
                following = asyncio.create_task(follow())
                await asyncio.sleep(0.3)
                cut = time.monotonic()
                wire.fault = fault
                await work()
        assert not one.trusted
        await following
    assert cancelled[0] - cut < 2.0  # the lease's duration: nobody else leads before
    assert began[0] > cancelled[0]
    assert 1.8 < began[0] - cut < 4.0  # that and 2 s


async def test_a_server_that_hangs_ends_the_lead_and_when_it_is_back_the_same_process_leads_again(
    booth: Booth,
) -> None:
    async with booth.candidate("one") as one:
        with pytest.raises(LeadershipLost, match="could not be renewed"):
            async with one.lead() as first:
                booth.api.silence()
                start = time.monotonic()
                await asyncio.sleep(60)
        assert time.monotonic() - start < 2.0
        booth.api.silence(False)
        async with one.lead() as second:
            assert second.number == first.number + 1
            assert (await booth.lease())["spec"]["leaseTransitions"] == 0


async def test_errors_of_the_work_pass_and_the_lease_is_released(booth: Booth) -> None:
    async with booth.candidate("one") as one:
        for error in (ValueError("its own"), TimeoutError("its own"), LeadershipLost("fenced by the store")):
            with pytest.raises(type(error), match=str(error)):
                async with one.lead():
                    raise error
            assert (await booth.lease())["spec"]["holderIdentity"] == ""


async def test_who_is_cancelled_while_leading_releases_the_lease(booth: Booth) -> None:
    async with booth.candidate("one") as one:
        leading = asyncio.Event()

        async def lead() -> None:
            async with one.lead():
                leading.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(lead())
        await leading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await booth.lease())["spec"]["holderIdentity"] == ""


async def test_who_is_cancelled_before_it_hears_that_it_leads_releases_the_lease(booth: Booth) -> None:
    async with booth.candidate("one") as one:
        wire = one._lease.client = Cut(one._lease.client)
        wire.fault = "loses replies to writes"
        waiting = asyncio.create_task(one.lead().__aenter__())

        async def written() -> bool:
            with suppress(RequestFailed):
                return bool((await booth.lease())["spec"]["holderIdentity"] == one.identity)
            return False

        await until(written)
        wire.fault = ""
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert (await booth.lease())["spec"]["holderIdentity"] == ""


async def test_who_lost_the_lead_and_goes_while_it_stands_by_releases_the_lease(booth: Booth) -> None:
    async with booth.candidate("one") as one:
        wire = one._lease.client = Cut(one._lease.client)
        with pytest.raises(LeadershipLost, match="could not be renewed"):
            async with one.lead():
                wire.fault = "fails"
                await asyncio.sleep(60)
        assert (await booth.lease())["spec"]["holderIdentity"] == one.identity
        waiting = asyncio.create_task(one.lead().__aenter__())
        await asyncio.sleep(0)
        wire.fault = ""
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert (await booth.lease())["spec"]["holderIdentity"] == ""


async def test_a_lease_that_somebody_annotates_is_renewed_over_what_they_wrote(booth: Booth) -> None:
    async with booth.candidate("one") as one, one.lead():
        await booth.api.patch(
            *LEASES, "default", "kubecdc", {"metadata": {"annotations": {"note": "x"}, "labels": {"team": "ml"}}}
        )
        await asyncio.sleep(1.5)
        assert one.trusted
    metadata = (await booth.lease())["metadata"]
    assert metadata["annotations"] == {"note": "x", EPOCH: "1", ANNOTATION: "true"}
    assert metadata["labels"] == {"team": "ml"}


async def test_a_renewal_whose_reply_was_lost_does_not_end_the_lead(booth: Booth) -> None:
    async with booth.candidate("one") as one:
        wire = one._lease.client = Cut(one._lease.client)
        async with one.lead():
            wire.fault = "loses replies to writes"
            await asyncio.sleep(0.5)
            wire.fault = ""
            await asyncio.sleep(1.0)
            assert one.trusted


async def test_a_take_whose_reply_was_lost_is_found_to_be_ours(booth: Booth) -> None:
    async with booth.candidate("one") as one:
        wire = one._lease.client = Cut(one._lease.client)
        wire.fault = "loses replies to writes"
        waiting = asyncio.create_task(one.lead().__aenter__())
        await asyncio.sleep(0.5)
        assert not waiting.done()
        wire.fault = ""
        term = await asyncio.wait_for(waiting, 1)
        # Each try that the server took has its number; none of them was led under.
        assert term.number == int((await booth.lease())["metadata"]["annotations"][EPOCH])
        assert (await booth.lease())["spec"]["leaseTransitions"] == 0


async def test_of_many_that_race_for_it_one_leads_at_a_time(booth: Booth) -> None:
    async with AsyncExitStack() as stack:
        candidates = [await stack.enter_async_context(booth.candidate(f"c{n}")) for n in range(5)]
        leading: list[str] = []
        terms: list[int] = []

        async def once(candidate: LeaseElector) -> None:
            async with candidate.lead() as term:
                assert not leading
                leading.append(candidate.identity)
                terms.append(term.number)
                await asyncio.sleep(0.05)
                leading.clear()

        await asyncio.gather(*(once(candidate) for candidate in candidates))
    assert terms == [1, 2, 3, 4, 5]
    assert (await booth.lease())["spec"]["leaseTransitions"] == 4


@pytest.mark.parametrize("theft", ["another", "nobody", "deleted"])
async def test_a_leader_that_finds_the_lease_taken_from_it_stops_at_once(booth: Booth, theft: str) -> None:
    async with booth.candidate("one") as one:
        # Else it would end with the renew deadline, and say that the lease could not be renewed.
        with pytest.raises(LeadershipLost, match=r"is held by thief|is held by nobody|was deleted"):
            async with one.lead():
                if theft == "deleted":
                    await booth.api.delete(*LEASES, "default", "kubecdc")
                else:
                    holder = "thief" if theft == "another" else ""
                    await put(booth, holder, duration=1, stamp="2026-01-01T00:00:00.000000Z", transitions=1)
                await asyncio.sleep(60)
        async with one.lead() as term:
            assert term.number == 2


async def test_the_epoch_grows_though_the_lease_was_deleted(booth: Booth) -> None:
    async with booth.candidate("one") as one, one.lead() as term:
        await booth.commit(term.number + 40)
    await booth.api.delete(*LEASES, "default", "kubecdc")
    async with booth.candidate("other") as other, other.lead() as term:
        assert term.number == 42
        assert (await booth.lease())["metadata"]["annotations"][EPOCH] == "42"


async def test_the_epoch_grows_though_the_store_came_back_older(booth: Booth) -> None:
    await put(booth, "", duration=1, stamp="2026-01-01T00:00:00.000000Z", transitions=0)
    await booth.api.patch(*LEASES, "default", "kubecdc", {"metadata": {"annotations": {EPOCH: "99"}}})
    await booth.commit(7)
    async with booth.candidate("one") as one, one.lead() as term:
        assert term.number == 100


@pytest.mark.parametrize("text", ["", "much", "-3", "9" * 30])
async def test_an_epoch_that_is_no_number_counts_for_nothing(booth: Booth, text: str) -> None:
    await put(booth, "", duration=1, stamp="2026-01-01T00:00:00.000000Z", transitions=0)
    await booth.api.patch(*LEASES, "default", "kubecdc", {"metadata": {"annotations": {EPOCH: text}}})
    await booth.commit(7)
    async with booth.candidate("one") as one, one.lead() as term:
        assert term.number == 8


async def test_who_cannot_reach_the_store_does_not_take_the_lead(booth: Booth) -> None:
    class Away:
        there = False

        async def newest_term(self) -> int:
            if not self.there:
                raise Unavailable("the store is away")
            return 0

    store = Away()
    async with booth.candidate("one") as one:
        one._checkpoints = cast(CheckpointStore, store)
        with structlog.testing.capture_logs() as logs:
            waiting = asyncio.create_task(one.lead().__aenter__())
            await asyncio.sleep(0.5)
        assert not waiting.done()
        assert [line["event"] for line in logs] == ["the store is away"]
        with pytest.raises(RequestFailed, match="404"):
            await booth.lease()
        store.there = True
        assert (await asyncio.wait_for(waiting, 1)).number == 1


async def test_with_the_elector_of_the_bus_both_are_held_and_the_lease_has_the_greater_epoch(booth: Booth) -> None:
    for _ in range(3):
        async with booth.bus.elector.lead():
            pass
    async with booth.candidate("one", inner=booth.bus.elector) as one, one.lead() as term:
        assert term.number == await booth.bus.checkpoints.newest_term() > 3
        assert (await booth.lease())["metadata"]["annotations"][EPOCH] == str(term.number)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), booth.bus.elector.lead():
                pass
    async with booth.bus.elector.lead():
        pass


async def test_while_the_file_is_locked_by_another_the_lease_is_held_and_the_watcher_waits(booth: Booth) -> None:
    async with booth.candidate("one", inner=booth.bus.elector) as one:
        async with booth.bus.elector.lead():
            waiting = asyncio.create_task(one.lead().__aenter__())
            await asyncio.sleep(1.5)
            assert not waiting.done()
            assert (await booth.lease())["spec"]["holderIdentity"] == one.identity
        assert (await asyncio.wait_for(waiting, 2)).number > 1


async def test_a_right_that_lacks_is_one_line_with_the_commands_that_grant_it(tmp_path: Path, bench: Rig) -> None:
    async with simulator(rbac=True) as api:
        booth = Booth(api, await bench.open(), await api.kubeconfig_of(tmp_path / "nobody", "nobody"))
        async with booth.candidate("one") as one:
            with structlog.testing.capture_logs() as logs, pytest.raises(TimeoutError):
                async with asyncio.timeout(2), one.lead():
                    pass
    (line,) = logs
    assert line["event"].startswith("forbidden (403)")
    assert "--verb=get,create,update --resource=leases.coordination.k8s.io" in line["hint"]


async def test_a_namespace_that_is_not_there_is_named(booth: Booth) -> None:
    booth.api.fail(404, method="POST", path="/leases")
    async with booth.candidate("one") as one:
        with structlog.testing.capture_logs() as logs, pytest.raises(TimeoutError):
            async with asyncio.timeout(2), one.lead():
                pass
    (line,) = logs
    assert line["event"] == "the Lease default/kubecdc cannot be written (404)"
    assert "--lease-namespace" in line["hint"]


async def test_the_watcher_stands_by_when_the_lead_is_lost_and_loses_no_change(booth: Booth, bench: Rig) -> None:
    await booth.bus.register([SPEC])
    async with booth.candidate("one", inner=booth.bus.elector) as one, Cluster(str(bench.kubeconfig)) as cluster:
        wire = one._lease.client = Cut(one._lease.client)
        bench.task = asyncio.create_task(watcher.run(booth.bus, Current(entries_of([event_source()])), cluster, one))
        await bench.create("a")
        assert told(await bench.events()) == ["ADD a"]
        with structlog.testing.capture_logs() as logs:
            wire.fault = "fails"

            async def lost() -> bool:
                return any(line["event"] == "no longer the leader, standing by" for line in logs)

            await until(lost)
            await bench.create("b")
            await bench.delete("a")
            await asyncio.sleep(0.3)
            assert not any(line["event"] == "lease taken" for line in logs)
            wire.fault = ""
        assert told(await bench.events()) == ["ADD b", "DELETE a"]
        await bench.kill()


async def test_who_stands_by_says_why(bench: Rig) -> None:
    await bench.start()
    await bench.watching()
    with structlog.testing.capture_logs() as logs:
        checkpoints = (await bench.open()).checkpoints
        newer = await checkpoints.newest_term() + 1
        await checkpoints.acquire(KEY, Term(newer, "other"))

        async def lost() -> bool:
            return any(line["event"] == "no longer the leader, standing by" for line in logs)

        await bench.create("a")
        await until(lost, 15)
    (line,) = [line for line in logs if line["event"] == "no longer the leader, standing by"]
    assert str(newer) in line["reason"]
    (event,) = await bench.reported()
    assert (event["reason"], event["involvedObject"]["name"]) == ("LeadLost", "workflows")
    assert event["message"].endswith(line["reason"])
    assert "TaskGroup" not in str(logs)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"duration": 10.0}, "--lease-duration 10s must be greater than --renew-deadline 10s"),
        ({"renew_deadline": 2.4}, "--renew-deadline 2.4s must be greater than 1.2 times --retry-period 2s"),
        ({"retry_period": 0.0}, "--retry-period 0s must be above 0"),
        ({"duration": 15.5}, "--lease-duration 15.5s must be whole seconds"),
        ({"name": "Kube_CDC"}, "--lease-name: 'Kube_CDC' is not a Kubernetes name"),
        ({"namespace": "a.b"}, "--lease-namespace: 'a.b' is not a Kubernetes name"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_the_relation_they_break(given: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {k: timedelta(seconds=v) if isinstance(v, float) else v for k, v in given.items()}
    with pytest.raises(UsageError, match=re.escape(message)):
        LeaseSettings(**settings)


def test_the_home_namespace_is_that_of_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_NAMESPACE", raising=False)
    monkeypatch.setattr(settings, "NAMESPACE_FILE", tmp_path / "namespace")
    assert home_namespace() == "default"
    (tmp_path / "namespace").write_text("of-the-account\n")
    assert home_namespace() == "of-the-account"
    monkeypatch.setenv("POD_NAMESPACE", "of-the-pod")
    assert home_namespace() == "of-the-pod"


async def test_who_shares_a_lease_with_another_bus_says_so_once(booth: Booth) -> None:
    def named(lines: Any) -> list[str]:
        return [line["other"] for line in lines if line["event"] == "the lease elects for another bus too"]

    a, b = replace(QUICK, bus="redis://a, bus default"), replace(QUICK, bus="redis://b, bus default")
    async with booth.candidate("one", settings=a) as one, booth.candidate("same", settings=a) as same:
        with structlog.testing.capture_logs() as lines:
            async with one.lead():
                assert (await booth.lease())["metadata"]["annotations"]["kubecdc.io/bus"] == a.bus
            async with same.lead():
                pass
        assert named(lines) == []
    async with booth.candidate("other", settings=b) as other:
        with structlog.testing.capture_logs() as lines:
            for _ in range(2):  # a Lease that was released still names its bus
                async with other.lead():
                    assert (await booth.lease())["metadata"]["annotations"]["kubecdc.io/bus"] == b.bus
        assert named(lines) == [a.bus]
