"""The type ``sqs`` as a manifest names it, and as the commands of docs/sqs.md open it."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kubecdc.cli.main import cli
from kubecdc.cluster.connection import Cluster
from kubecdc.errors import UsageError
from kubecdc.storage.contracts.types import BusSettings, ClusterAccess, Opening
from kubecdc.storage.installed import queue_types
from kubecdc.storage.sqs import SqsSettings
from kubecdc.storage.sqs import queue as module
from kubecdc.storage.sqs.manifest import Sqs
from kubecdc.storage.sqs.opened import SqsQueue
from kubecdc.storage.sqs.queue import SqsQueueType
from tests.storage.sqs.elasticmq import ElasticMq

OPENING = Opening("one", ClusterAccess(Cluster))
MANIFESTS = """
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec:
  sqs: {region: eu-west-1, queuePrefix: %s, endpointUrl: '%s', maxMessageBytes: 256Ki}
  subscriptions: [{name: billing, eventSourceName: pods, eventName: changed}]
---
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: pods}
spec:
  resource:
    changed: {version: v1, resource: pods, eventTypes: [ADD]}
"""


def test_it_is_installed() -> None:
    found = queue_types().types["sqs"]
    assert isinstance(found, SqsQueueType)
    assert (found.holds_checkpoint, found.most_deliveries) == (False, 500)
    Sqs.model_validate({"region": "eu-west-1"})


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({}, "sqs:/kubecdc"),
        ({"region": "eu-west-1"}, "https://sqs.eu-west-1.amazonaws.com/kubecdc"),
        ({"endpointUrl": "http://localhost:9324/", "queuePrefix": "x"}, "http://localhost:9324/x"),
    ],
)
def test_its_place(spec: dict[str, str], place: str) -> None:
    assert SqsQueueType().place(Sqs.model_validate(spec)) == place


async def test_the_settings_are_those_of_the_manifest(elastic_mq: ElasticMq) -> None:
    spec = Sqs.model_validate(
        {
            "endpointUrl": elastic_mq.url,
            "region": "eu-west-1",
            "fifo": False,
            "fairQueues": True,
            "compressAbove": "1Ki",
            "maxMessageBytes": "256Ki",
        }
    )
    settings = BusSettings("place", ack_wait=timedelta(seconds=7), max_pending=9)
    queue = await SqsQueueType().open(spec, settings, OPENING)
    assert isinstance(queue, SqsQueue)
    found = queue._settings
    assert (found.bus, found.fifo, found.fair, found.compress_above) == ("place", False, True, 1024)
    assert (found.message_bytes, found.visibility, found.max_pending) == (256 << 10, 7, 9)
    assert (queue.capabilities.order, queue.ack_wait) == (False, timedelta(seconds=7))
    await queue.close()


async def test_an_ack_wait_that_sqs_would_cut_off_is_refused() -> None:
    settings = BusSettings("long", ack_wait=timedelta(hours=7))
    with pytest.raises(UsageError, match="12 hours"):
        await SqsQueueType().open(Sqs.model_validate({}), settings, OPENING)


async def test_without_its_libraries_it_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UsageError, match="boto3") as e:
        await SqsQueueType().open(Sqs.model_validate({}), BusSettings("none"), OPENING)
    assert e.value.hint == "pip install 'kubecdc[sqs]'"


def test_the_commands_use_it(elastic_mq: ElasticMq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SqsSettings", partial(SqsSettings, learn=0.0))
    file = tmp_path / "bus.yaml"
    file.write_text(MANIFESTS % ("commands", elastic_mq.url))

    def run(*command: str) -> Result:
        result = CliRunner().invoke(cli, [*command, "-f", str(file)])
        assert result.exit_code == 0, result.output
        return result

    run("validate")
    planned = run("bus", "ensure", "--dry-run").stdout.splitlines()
    assert [line.split()[:3] for line in planned] == [["would", "ensure", "dead-letter"], ["would", "ensure", "queue"]]
    assert run("bus", "ensure").stdout.splitlines() == [line.replace("would ensure", "ensured") for line in planned]
    assert "nothing to do" in run("bus", "ensure").stdout
    shown = run("bus", "show", "-o", "json")
    (row,) = json.loads(shown.stdout)
    assert (row["subscription"], row["source"], row["event"]) == ("billing", "pods", "changed")
    assert row["paused"] == "unknown", "that is in a ConfigMap, and there is no cluster"
    assert "the paused subscriptions cannot be read: no Kubernetes cluster is configured" in shown.stderr
    listed = run("dlq", "list").output
    assert "no dead letters" in listed
    assert "received and handed back" in listed
