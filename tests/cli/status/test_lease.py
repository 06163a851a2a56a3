"""Where processes cannot report to the bus, the Lease tells whether somebody leads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from kubecdc.cli.status.lease import Lead, read
from kubecdc.cluster.connection import Cluster
from kubecdc.watcher.election.lease import ClusterLeaseClient, Holding, micro_time
from kubecdc.watcher.election.settings import LeaseSettings
from tests.apiserver import LocalSimulator
from tests.cli.rig import HOME, Desk

LEASES = "coordination.k8s.io", "v1", "leases"
SOURCE = "source/workflows/changed"
METRICS = "processes do not report to this type of bus; see their metrics"


async def source(desk: Desk, *options: str) -> tuple[int, str, str, str | None]:
    """The exit code of `kubecdc status`, and of the row of the source: its verdict, cause and BY."""
    done = await desk.call("status", "-o", "json", "-n", HOME, *options)
    rows = {row["name"]: row for row in msgspec.json.decode(done.out, type=list[dict[str, Any]])}
    found = rows[SOURCE]
    return done.code, found["verdict"], found["cause"], found["by"]


async def test_a_watcher_that_is_gone_is_seen_in_its_lease(laptop: Desk) -> None:
    place = f"{HOME}/kubecdc"
    assert (await laptop.call("bus", "ensure")).code == 0
    code, verdict, cause, _ = await source(laptop, "--lease-name", "other")
    assert (code, verdict) == (1, "blocked")
    assert cause.startswith(f"nobody leads: there is no Lease {HOME}/other (")

    laptop.environment["POD_NAMESPACE"] = HOME
    async with laptop.running("watch") as watch:
        await watch.until('"listed"')
        code, verdict, cause, by = await source(laptop)
        assert (code, verdict, cause) == (0, "unknown", f"its lag is not known: {METRICS}")
        lease = await laptop.api.get(*LEASES, HOME, "kubecdc")
        assert by == lease["spec"]["holderIdentity"]
    assert (await source(laptop))[:3] == (1, "blocked", f"nobody leads: nobody holds the Lease {place}")

    laptop.api.fail(403, path="leases")
    code, verdict, cause, by = await source(laptop)
    assert (code, verdict, by) == (0, "unknown", None)
    assert cause.startswith(
        f"the leader and its lag are not known: {METRICS}; the Lease cannot be read: forbidden (403)"
    )


async def test_a_lease_that_has_lapsed_or_is_of_another_bus_leads_nothing(
    simulated: LocalSimulator, tmp_path: Path
) -> None:
    now, settings = datetime.now(UTC), LeaseSettings(bus="this one")
    holding = Holding(holder="h/1", duration=15, acquired="", renewed="", transitions=0, epoch=1, bus="this one")
    late = replace(holding, renewed=micro_time(now - timedelta(minutes=5)))
    cases = [
        (replace(holding, renewed=micro_time(now - timedelta(seconds=40))), Lead("h/1")),
        (replace(late, duration=3600), Lead("h/1")),
        (replace(holding, renewed="?"), Lead("h/1")),
        (late, Lead("", f"the last leader, h/1, has not renewed the Lease default/kubecdc since {late.renewed}")),
        (replace(holding, bus="it"), Lead("", "the Lease default/kubecdc elects the leader of another bus, it")),
        (replace(late, holder="", bus="it"), Lead("", "nobody holds the Lease default/kubecdc")),
    ]
    async with Cluster(str(simulated.kubeconfig(tmp_path / "kubeconfig"))) as cluster:
        client = ClusterLeaseClient(cluster, settings.namespace, settings.name)
        lease = await client.create(holding.document(None), seconds=60)
        for given, lead in cases:
            lease = await client.update(given.document(lease), seconds=60)
            assert await read(cluster, settings, now.timestamp()) == lead
