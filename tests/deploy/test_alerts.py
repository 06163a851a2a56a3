"""The alerts and the dashboard: they are about metrics that exist, they fire when they should, and each has an entry in
docs/runbook.md."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from kubecdc.cli.main import cli
from kubecdc.watcher.capture import reasons
from tests.deploy import promql
from tests.deploy.rules import DASHBOARD, RULES, alerts, made
from tests.deploy.test_helm import compared, rendered
from tests.deploy.tools import ROOT, built_in, output, tool

ALERTS = {rule["alert"]: rule for rule in alerts()}
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
ROWS = ["means", "meanwhile", "look", "do", "over"]
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]


def test_the_objects_are_made_of_the_rules_and_the_dashboard_as_they_are() -> None:
    for path, text in made().items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)}: run `make alerts`"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_what_exists_and_says_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    found = promql.labels(rule["expr"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"runbook_url", "summary", "description"}
    assert rule["annotations"]["runbook_url"] == f"{SOURCE}/blob/main/docs/runbook.md#{name.lower()}"
    said = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    assert said <= found, f"it speaks of labels that it does not have: {said - found}"


def test_each_alert_has_an_entry_in_the_runbook_and_the_other_way_round() -> None:
    entries = RUNBOOK.split("\n## ")[1:]
    assert [entry.splitlines()[0] for entry in entries] == list(ALERTS)
    for entry in entries:
        assert re.findall(r"^\| (\w+) \| \S", entry, re.MULTILINE) == ROWS, entry.splitlines()[0]
    assert set(re.findall(r"\]\(#(\w+)\)", RUNBOOK)) <= {name.lower() for name in ALERTS}


COMMANDS = sorted(set(re.findall(r"`kubecdc ([a-z][^`{]*)`", RUNBOOK)))


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_in_the_runbook_exists(line: str) -> None:
    command: click.Command = cli
    words = shlex.split(line)
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found, line
        command = found
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_reasons_that_are_left_out_of_the_alert_on_gaps_exist() -> None:
    known = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    (without,) = set(re.findall(r'reason!~"([^"]+)"', ALERTS["KubecdcGap"]["expr"]))
    assert set(without.split("|")) < known


def panels() -> dict[str, dict[str, Any]]:
    return {panel["title"]: panel for panel in json.loads(DASHBOARD.read_text())["panels"]}


QUERIES = [(title, target) for title, panel in panels().items() for target in panel.get("targets", [])]


@pytest.mark.parametrize(("title", "target"), QUERIES, ids=[f"{t}-{target['refId']}" for t, target in QUERIES])
def test_a_panel_asks_for_what_exists(title: str, target: dict[str, Any]) -> None:
    assert set(re.findall(r"\$(\w+)", target["expr"])) <= {"namespace", "__rate_interval"}
    found = promql.labels(target["expr"].replace("$__rate_interval", "5m"))
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= found


def test_the_dashboard_has_a_place_for_each_panel_and_follows_its_variables() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        for cell in [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]:
            assert cell[0] < 24
            assert cell not in taken, f"{panel['title']} is over {taken[cell]}"
            taken[cell] = panel["title"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]\w*)", DASHBOARD.read_text())) == variables
    for annotation in dashboard["annotations"]["list"]:
        assert promql.labels(annotation["expr"]) >= {annotation["tagKeys"]}


def test_the_chart_has_what_the_components_have(tmp_path: Path) -> None:
    components = [f"../deploy/kustomize/components/{name}" for name in ("pod-monitor", "alerts", "dashboard")]
    own = {
        "resources": ["../deploy/kustomize/overlays/redis"],
        "components": components,
        "transformers": ["../deploy/kustomize/common"],
    }
    switches = {name: {"enabled": True} for name in ("podMonitor", "alerts", "dashboard")}
    found = compared(rendered(values={"bus": {"type": "redis"}, **switches}))
    assert found == compared(built_in(tmp_path, own))
    labels = found["ConfigMap", "kubecdc", "kubecdc-dashboard"]["metadata"]["labels"]
    assert labels["grafana_dashboard"] == "1"


WATCH = '{namespace="k",pod="w-1",watch="s/e/%s"}'
LED = 'kubecdc_leader{namespace="k",job="k/k",pod="%s",bus="b"}'
TRIGGER = '{namespace="k",pod="%s",sensor="s",trigger="t"}'
SUBSCRIPTION = '{namespace="k",pod="%s",bus="b",subscription="s/t%s"}'
BUS = '{namespace="k",pod="%s",bus="b"}'
NAMES = {"namespace": "k", "subscription": "s/t"}
ENTRY = {"namespace": "k", "entry": "s/e"}
BREAKER = {f"kubecdc_trigger_breaker_open{TRIGGER % pod}": "1x60" for pod in ("a", "b")}
OLD = {"kubecdc_oldest_pending_age_seconds" + SUBSCRIPTION % ("w", ""): "1900+60x60"}


def entry_behind(seconds: str, expires: str) -> dict[str, str]:
    return {
        "kubecdc_watch_behind_seconds" + WATCH % "ns": seconds,
        "kubecdc_checkpoint_expires_seconds" + WATCH % "ns": expires,
    }


# (alert, what happens): series with a sample a minute, a minute, and the labels of what fires then. None: nothing does.
CASES: dict[tuple[str, str], tuple[dict[str, str], int, dict[str, str] | None]] = {
    ("KubecdcNoLeader", "one leads"): ({LED % "a": "1x30", LED % "b": "0x30"}, 30, None),
    ("KubecdcNoLeader", "another takes over"): ({LED % "a": "1x10 _x20", LED % "b": "0x10 1x20"}, 20, None),
    ("KubecdcNoLeader", "all stand by"): (
        {LED % "a": "1x10 0x20", LED % "b": "0x30"},
        14,
        {"namespace": "k", "job": "k/k", "bus": "b"},
    ),
    ("KubecdcNoLeader", "all pods are gone"): (
        {LED % "a": "1x10 stale", LED % "b": "0x10 stale"},
        14,
        {"namespace": "k", "job": "k/k", "bus": "b"},
    ),
    ("KubecdcNoLeader", "there never was one"): ({"up": "1x30"}, 4, {}),
    ("KubecdcSeveralLeaders", "one leads"): ({LED % "a": "1x30", LED % "b": "0x30"}, 30, None),
    ("KubecdcSeveralLeaders", "two lead"): (
        {LED % "a": "1x30", LED % "b": "0x10 1x20"},
        14,
        {"namespace": "k", "job": "k/k", "bus": "b"},
    ),
    ("KubecdcSeveralLeaders", "two installations lead their own bus"): (
        {LED % "a": "1x30", 'kubecdc_leader{namespace="k",job="k/other",pod="c",bus="b"}': "1x30"},
        14,
        None,
    ),
    ("KubecdcProcessDown", "one hangs"): (
        {
            'kubecdc_build_info{namespace="k",job="k/k",container="kubecdc",instance="1",version="1"}': "1x10 _x20",
            'up{namespace="k",job="k/k",container="kubecdc",instance="1"}': "1x10 0x20",
        },
        16,
        {"namespace": "k", "job": "k/k", "container": "kubecdc", "instance": "1"},
    ),
    ("KubecdcProcessDown", "something else in the same job is down"): (
        {
            'kubecdc_build_info{namespace="k",job="pods",container="kubecdc",instance="1",version="1"}': "1x30",
            'up{namespace="k",job="pods",container="redis",instance="2"}': "0x30",
        },
        20,
        None,
    ),
    ("KubecdcProcessDown", "a pod is replaced"): (
        {
            'kubecdc_build_info{namespace="k",job="k/k",container="kubecdc",instance="1",version="1"}': "1x10 stale",
            'up{namespace="k",job="k/k",container="kubecdc",instance="1"}': "1x10 stale",
        },
        20,
        None,
    ),
    ("KubecdcBusDown", "one of two cannot reach it"): (
        {"kubecdc_bus_up" + BUS % "a": "1x30", "kubecdc_bus_up" + BUS % "b": "1x10 0x20"},
        13,
        {"namespace": "k", "bus": "b"},
    ),
    ("KubecdcBusDown", "all reach it"): ({"kubecdc_bus_up" + BUS % "a": "1x30"}, 20, None),
    ("KubecdcBusNearFull", "of one subscription"): (
        {
            "kubecdc_pending_events" + SUBSCRIPTION % ("a", ""): "850x30",
            "kubecdc_pending_events" + SUBSCRIPTION % ("a", "2"): "10x30",
            "kubecdc_pending_events_limit" + BUS % "a": "1000x30",
            "kubecdc_pending_events_limit" + BUS % "b": "1000x30",
        },
        20,
        {**NAMES, "bus": "b"},
    ),
    ("KubecdcBusNearFull", "the backlog is below"): (
        {
            "kubecdc_pending_events" + SUBSCRIPTION % ("a", ""): "790x30",
            "kubecdc_pending_events_limit" + BUS % "b": "1000x30",
        },
        20,
        None,
    ),
    ("KubecdcBusNearFull", "a bus without a limit"): (
        {"kubecdc_pending_events" + SUBSCRIPTION % ("a", ""): "85000000x30"},
        20,
        None,
    ),
    ("KubecdcBehind", "a watch in one namespace"): (entry_behind("0x10 0+60x20", "300x40"), 14, ENTRY),
    ("KubecdcBehind", "a relist of half a minute"): (entry_behind("0 30 0 30 0 30 0", "300x9"), 5, None),
    ("KubecdcHistoryExpires", "an outage"): (entry_behind("0x10 0+60x20", "280x10 280-60x4 0x20"), 14, ENTRY),
    ("KubecdcHistoryExpires", "a quiet resource without bookmarks"): (entry_behind("0x30", "0x30"), 20, None),
    ("KubecdcGap", "the first of a process"): (
        {'kubecdc_gaps_total{namespace="k",watch="s/e",reason="history expired"}': "_x70 1x20"},
        75,
        {**ENTRY, "reason": "history expired"},
    ),
    ("KubecdcGap", "another one"): (
        {'kubecdc_gaps_total{namespace="k",watch="s/e/ns",reason="history expired"}': "1x70 2x20"},
        75,
        {**ENTRY, "reason": "history expired"},
    ),
    ("KubecdcGap", "an hour after the last"): (
        {'kubecdc_gaps_total{namespace="k",watch="s/e",reason="history expired"}': "_x10 1x90"},
        80,
        None,
    ),
    ("KubecdcGap", "the manifest was changed"): (
        {'kubecdc_gaps_total{namespace="k",watch="s/e",reason="another selection"}': "_x70 1x20"},
        75,
        None,
    ),
    ("KubecdcObjectsLeftOut", "the first"): ({"kubecdc_left_out_objects_total" + WATCH % "ns": "_x70 1x20"}, 75, ENTRY),
    ("KubecdcObjectsLeftOut", "none lately"): ({"kubecdc_left_out_objects_total" + WATCH % "ns": "7x90"}, 75, None),
    ("KubecdcEventsTruncated", "one"): ({"kubecdc_truncated_events_total" + WATCH % "ns": "0x70 1x20"}, 75, ENTRY),
    ("KubecdcEventsTruncated", "none"): ({"kubecdc_truncated_events_total" + WATCH % "ns": "0x90"}, 75, None),
    ("KubecdcBacklogOld", "it is worked on"): (
        {**OLD, 'kubecdc_subscription_paused{namespace="k",pod="a",subscription="s/t"}': "0x60"},
        10,
        {**NAMES, "bus": "b", "route": "s/t"},
    ),
    ("KubecdcBacklogOld", "of a consumer of one's own"): (
        {'kubecdc_oldest_pending_age_seconds{namespace="k",bus="b",subscription="billing"}': "1900+60x60"},
        10,
        {"namespace": "k", "bus": "b", "subscription": "billing"},
    ),
    ("KubecdcBacklogOld", "it is paused"): (
        {**OLD, 'kubecdc_subscription_paused{namespace="k",pod="a",subscription="s/t"}': "1x60"},
        10,
        None,
    ),
    ("KubecdcBacklogOld", "its receiver is away"): ({**OLD, **BREAKER}, 10, None),
    ("KubecdcBacklogOld", "the receiver of a trigger with several dependencies is away"): (
        {"kubecdc_oldest_pending_age_seconds" + SUBSCRIPTION % ("w", "/first"): "1900+60x60", **BREAKER},
        10,
        None,
    ),
    ("KubecdcReceiverAway", "for all workers"): (BREAKER, 11, {"namespace": "k", "sensor": "s", "trigger": "t"}),
    ("KubecdcReceiverAway", "for one of two workers"): (
        {**BREAKER, f"kubecdc_trigger_breaker_open{TRIGGER % 'b'}": "0x60"},
        11,
        None,
    ),
    ("KubecdcDeadLetters", "two"): (
        {"kubecdc_dead_letters" + SUBSCRIPTION % ("a", ""): "0x10 2x60"},
        16,
        {**NAMES, "bus": "b"},
    ),
    ("KubecdcDeadLetters", "none any more"): (
        {"kubecdc_dead_letters" + SUBSCRIPTION % ("a", ""): "2x10 0x60"},
        16,
        None,
    ),
    ("KubecdcEventsGone", "some"): (
        {'kubecdc_gone_events_total{namespace="k",pod="a",subscription="s/t"}': "_x70 12x20"},
        75,
        NAMES,
    ),
    ("KubecdcEventsGone", "none"): ({"up": "1x90"}, 75, None),
    ("KubecdcPausedForLong", "six hours"): (
        {f'kubecdc_subscription_paused{{namespace="k",pod="{pod}",subscription="s/t"}}': "1x400" for pod in ("a", "b")},
        361,
        NAMES,
    ),
    ("KubecdcPausedForLong", "resumed in between"): (
        {'kubecdc_subscription_paused{namespace="k",pod="a",subscription="s/t"}': "1x300 0 1x100"},
        361,
        None,
    ),
    ("KubecdcEncryptionKeyMissing", "one worker"): (
        {
            f'kubecdc_subscription_key_missing{{namespace="k",pod="{pod}",subscription="s/t"}}': f"{value}x30"
            for pod, value in (("a", 0), ("b", 1))
        },
        11,
        NAMES,
    ),
    ("KubecdcEncryptionKeyMissing", "a rotation"): (
        {'kubecdc_subscription_key_missing{namespace="k",pod="a",subscription="s/t"}': "0x5 1x3 0x30"},
        11,
        None,
    ),
    ("KubecdcBacklogOld", "its encryption key is missing"): (
        {**OLD, 'kubecdc_subscription_key_missing{namespace="k",pod="a",subscription="s/t"}': "1x60"},
        10,
        None,
    ),
    ("KubecdcApiErrors", "a right is missing"): (
        {'kubecdc_api_errors_total{namespace="k",pod="a",status="403"}': "0+2x60"},
        30,
        {"namespace": "k", "status": "403"},
    ),
    ("KubecdcApiErrors", "a blip"): (
        {'kubecdc_api_errors_total{namespace="k",pod="a",status="0"}': "0x10 20x50"},
        30,
        None,
    ),
    ("KubecdcApiErrors", "what is expected of conflicts and expired history"): (
        {
            f'kubecdc_api_errors_total{{namespace="k",pod="a",status="{status}"}}': "0+9x60"
            for status in (404, 409, 410)
        },
        30,
        None,
    ),
    ("KubecdcLogLinesDropped", "for long"): (
        {'kubecdc_log_lines_dropped_total{namespace="k",pod="a"}': "0x5 0+3x60"},
        30,
        {"namespace": "k"},
    ),
    ("KubecdcLogLinesDropped", "none"): ({'kubecdc_log_lines_dropped_total{namespace="k",pod="a"}': "5x60"}, 30, None),
    ("KubecdcManifestsUnused", "in one of two"): (
        {
            'kubecdc_manifests_last_reload_successful{namespace="k",pod="a"}': "1x5 0x30",
            'kubecdc_manifests_last_reload_successful{namespace="k",pod="b"}': "1x40",
        },
        15,
        {"namespace": "k"},
    ),
    ("KubecdcManifestsUnused", "corrected"): (
        {'kubecdc_manifests_last_reload_successful{namespace="k",pod="a"}': "1x5 0x3 1x30"},
        15,
        None,
    ),
}


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    for fires in (True, False):
        assert {name for (name, _), (*_, found) in CASES.items() if (found is not None) is fires} == set(ALERTS)


@pytest.mark.long
def test_promtool_takes_the_rules_and_they_fire_when_they_should(tmp_path: Path) -> None:
    tool("promtool")
    output("promtool", "check", "rules", "--lint=all", "--lint-fatal", RULES)
    tests = []
    for (name, what), (series, minute, found) in CASES.items():
        severity = ALERTS[name]["labels"]["severity"]
        labels = {"alertname": name, "alertstate": "firing", "severity": severity, **(found or {})}
        text = ",".join(f'{label}="{value}"' for label, value in labels.items())
        samples = [] if found is None else [{"labels": f"ALERTS{{{text}}}", "value": 1}]
        tests.append(
            {
                "name": f"{name}: {what}",
                "interval": "1m",
                "input_series": [{"series": one, "values": values} for one, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'ALERTS{{alertname="{name}",alertstate="firing"}}',
                        "eval_time": f"{minute}m",
                        "exp_samples": samples,
                    }
                ],
            }
        )
    (tmp_path / "tests.yaml").write_text(
        yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests})
    )
    output("promtool", "test", "rules", tmp_path / "tests.yaml")
