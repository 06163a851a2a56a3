"""The alerts of deploy/, on what processes export that work, and on what they export under real faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.rig import HTTP, REDIS_BUS, SENSOR, Desk
from tests.cli.serving.asking import ask
from tests.deploy.rules import RULES
from tests.deploy.tools import output, tool
from tests.ports import free_port
from tests.workers.peer import saying, serving

pytestmark = pytest.mark.long
TARGET = {
    "namespace": "kubecdc",
    "job": "kubecdc/kubecdc",
    "container": "kubecdc",
    "pod": "one",
    "instance": "one:9464",
}
MINUTES = 400  # for which everything stays as it was scraped


async def scraped(port: int, is_so: Callable[[dict[str, float]], bool]) -> str:
    """The exposition, once the sums of its metrics are so."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, text = await asyncio.to_thread(ask, port, "/metrics")
            except OSError:
                text = ""
            sums: dict[str, float] = {}
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    sums[sample.name] = sums.get(sample.name, 0) + sample.value
            if sums and is_so(sums):
                return text
            await asyncio.sleep(0.1)


def series(text: str) -> list[dict[str, str]]:
    """As Prometheus has them after a scrape of a pod, each minute."""
    families = text_string_to_metric_families(text)
    own = [sample for family in families for sample in family.samples if sample.name.startswith("kubecdc_")]
    values = [(_named("up", {}), 1.0), *((_named(one.name, one.labels), one.value) for one in own)]
    return [{"series": name, "values": f"{value:f}x{MINUTES}"} for name, value in values]


def _named(name: str, labels: dict[str, str]) -> str:
    pairs = ",".join(f'{label}="{value}"' for label, value in {**labels, **TARGET}.items())
    return f"{name}{{{pairs}}}"


def must_fire(folder: Path, text: str, *alerts: str) -> None:
    """These and no others."""
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in alerts]
    asked = {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": f"{MINUTES}m"}
    test = {"interval": "1m", "input_series": series(text), "promql_expr_test": [{**asked, "exp_samples": expected}]}
    whole = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    (folder / "tests.yaml").write_text(yaml.safe_dump(whole))
    output("promtool", "test", "rules", folder / "tests.yaml")


async def test_none_fires_while_all_is_well_and_the_right_ones_when_triggers_fail(desk: Desk, tmp_path: Path) -> None:
    tool("promtool")
    port = free_port()
    options = ("run", "--metrics-bind-address", f"127.0.0.1:{port}")
    async with desk.running(*options) as kubecdc:
        await kubecdc.until('"listed"')
        await desk.create("w-0")
        text = await scraped(
            port,
            lambda sums: (
                sums["kubecdc_change_to_ack_seconds_count"] == 1
                and sums.get("kubecdc_pending_events") == sums["kubecdc_watch_behind_seconds"] == 0
                and sums["kubecdc_bus_up"] == 1
            ),
        )
        must_fire(tmp_path, text)

    async with serving(saying(503)) as away, serving(saying(400)) as refusing:
        desk.write("away.yaml", HTTP.format(url=away.url).replace("name: post", "name: away"))
        desk.write("refusing.yaml", HTTP.format(url=refusing.url).replace("name: post", "name: refusing"))
        desk.write("paused.yaml", SENSOR.replace("name: print", "name: resting").replace("{}}}", "{}}, paused: true}"))
        async with desk.running(*options) as kubecdc:
            await kubecdc.until('"leading"')
            for number in range(1, 12):
                await desk.create(f"w-{number}")
            text = await scraped(
                port,
                lambda sums: (
                    sums["kubecdc_trigger_breaker_open"] == sums["kubecdc_subscription_paused"] == 1
                    and sums.get("kubecdc_dead_letters", 0) > 0
                    and sums["kubecdc_bus_up"] == 1
                ),
            )
            must_fire(tmp_path, text, "KubecdcReceiverAway", "KubecdcDeadLetters", "KubecdcPausedForLong")


async def test_a_bus_that_is_away_and_so_no_leader(desk: Desk, tmp_path: Path) -> None:
    tool("promtool")
    port = free_port()
    desk.write("bus.yaml", REDIS_BUS.format(url=f"redis://127.0.0.1:{free_port()}/0"))
    async with desk.running("run", "--metrics-bind-address", f"127.0.0.1:{port}"):
        text = await scraped(port, lambda sums: "kubecdc_bus_up" in sums)
        must_fire(tmp_path, text, "KubecdcBusDown", "KubecdcNoLeader")
