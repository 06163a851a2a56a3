"""Credentials, event loops, and the commands."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
import uvloop
from google.auth.credentials import AnonymousCredentials

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.pubsub import PubSubSettings, open_bus
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite import open_bus as open_sqlite
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event
from tests.storage.pubsub.conftest import PROJECT
from tests.storage.pubsub.fake import FakePubSub

NAME = "mail/send"
SPEC = SubscriptionSpec(NAME, SOURCE, SUBJECT)


async def test_without_credentials_the_hint_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))
    with pytest.raises(UsageError, match="credentials") as raised:
        await open_bus(PubSubSettings(PROJECT, "kubecdc"), holder="one")
    assert "gcloud auth application-default login" in raised.value.hint


async def test_with_credentials_it_is_opened_without_asking_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setattr("google.auth.default", lambda **_: (AnonymousCredentials(), PROJECT))  # type: ignore[no-untyped-call]
    for endpoint in ("", "europe-west1-pubsub.googleapis.com", "127.0.0.1:1"):
        bus = await open_bus(PubSubSettings(PROJECT, "kubecdc", endpoint, call_seconds=0.2), holder="one")
        if endpoint.startswith("127"):
            with pytest.raises(Unavailable):
                await bus.subscriptions()
        await bus.close()


def test_it_runs_on_uvloop_as_the_commands_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        async with FakePubSub(pull_wait=0.1) as fake:
            monkeypatch.setenv("PUBSUB_EMULATOR_HOST", fake.address)
            queue = await open_bus(PubSubSettings(PROJECT, "kubecdc"), holder="one")
            await queue.register([SPEC])
            await queue.publisher.publish(Publication([event(number, f"object-{number}") for number in range(50)]))
            got = []
            async for delivery in queue.subscription(NAME, prefetch=10).deliveries():
                await delivery.ack()
                got.append(delivery.event.id)
                if len(got) == 50:
                    break
            await queue.close()
            return got

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert len(set(runner.run(run()))) == 50


MANIFESTS = """
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec:
  pubsub: {projectID: a-project, topic: a-topic}
  checkpoint: {sqlite: {path: %s}}
  subscriptions:
  - {name: billing, eventSourceName: workflows, eventName: changed}
"""


async def test_the_commands_know_it(fake: FakePubSub, tmp_path: Path) -> None:
    manifests = tmp_path / "bus.yaml"
    manifests.write_text(MANIFESTS % (tmp_path / "checkpoint.db"))

    async def kubecdc(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from kubecdc.cli.main import main; main()",
            *arguments,
            "-f",
            str(manifests),
            env=os.environ | {"PUBSUB_EMULATOR_HOST": fake.address},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    await (await open_sqlite(SqliteSettings(tmp_path / "checkpoint.db"), holder="before")).close()
    code, output = await kubecdc("bus", "ensure", "--dry-run")
    assert (code, fake.topics) == (0, {}), output
    assert "subscription billing, to workflows/changed" in output
    code, output = await kubecdc("bus", "ensure")
    assert code == 0, output
    assert len(fake.topics) == 2
    code, output = await kubecdc("bus", "show")
    assert code == 0, output
    assert "unknown" in output
    code, output = await kubecdc("replay", "--subscription", "billing", "--since", "1h", "--yes")
    assert (code, "an unknown number of events will be delivered to billing again" in output) == (0, True), output
    code, output = await kubecdc("replay", "--subscription", "billing", "--object", "default/a", "--yes")
    assert (code, "use --since" in output) == (2, True), output
