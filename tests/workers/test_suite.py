"""The conformance suite finds each mistake of a trigger type that it is there for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ConfigDict

from kubecdc.cluster.keys import Keys
from kubecdc.manifest.fields import Items
from kubecdc.manifest.model import Model
from kubecdc.manifest.mounts import Mounts, Unreadable
from kubecdc.manifest.secrets import KeyRef
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameter_manifest import Parameter
from kubecdc.workers.sensor.parameters import rewrite
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.testing import CASES, ParameterCase
from kubecdc.workers.testing.case import event_of
from kubecdc.workers.triggers.contract import Context, TriggerType

SECRET = "s3cr3t"
DEADLINE = 0.2


class Config(Model):
    topic: str
    token: KeyRef
    parameters: Items[Parameter] = ()


class Loose(Config):
    model_config = ConfigDict(extra="ignore")


class MemoryTrigger:
    """Puts events into a list, with one mistake or none."""

    def __init__(self, harness: MemoryHarness, context: Context) -> None:
        self._harness, self._mistake, self._keys = harness, harness.mistake, context.keys
        self._closed = False
        self._later: asyncio.Task[None] | None = None

    def prepare(self, request: TriggerRequest[Config]) -> TriggerRequest[Config]:
        config = request.config
        if self._mistake != "ignores its parameters":
            config = rewrite(config, config.parameters, request.values)
        return TriggerRequest("s", "t", "dep", request.event, config, request.values)

    async def execute(self, request: TriggerRequest[Config]) -> Outcome:
        try:
            token = await self._keys.text(request.config.token)
        except Unreadable as e:
            if self._mistake == "cannot go on without a secret":
                return Failure(str(e))
            return Retry(str(e))
        if self._mistake == "reports before the work is done":
            self._later = asyncio.create_task(self._put_later(request.event))
            return Success()
        try:
            async with asyncio.timeout(60 if self._mistake == "has no deadline" else DEADLINE):
                return await self._send(request.event, token)
        except TimeoutError:
            return Retry("no answer")
        except asyncio.CancelledError:
            if self._mistake == "swallows a cancellation":
                return Retry("cancelled")
            raise

    async def _put_later(self, event: Event) -> None:
        await asyncio.sleep(0.01)
        self._harness.events.append(event.id)

    async def _send(self, event: Event, token: str) -> Outcome:
        match self._harness.mode:
            case "hangs" if self._mistake == "blocks the event loop":
                time.sleep(DEADLINE)
                return Retry("no answer")
            case "hangs":
                await asyncio.sleep(60)
            case "fails for now" if self._mistake == "raises":
                raise ConnectionError("away")
            case "fails for now" if self._mistake == "repeats a secret":
                return Retry(f"away: {token}")
            case "fails for now":
                return Retry("away")
            case "fails for good":
                return Retry("rejected") if self._mistake == "retries forever" else Failure("rejected")
        self._harness.events.append(event.id)
        return Success()

    def preview(self, request: TriggerRequest[Config]) -> Mapping[str, object]:
        if self._mistake == "acts in a preview":
            self._harness.events.append(request.event.id)
        shown = {"topic": request.config.topic, "token": "***"}
        if self._mistake == "shows a secret":
            shown["token"] = SECRET
        if self._mistake == "reads a secret for a preview":
            shown["token"] = "*" * len(self._keys.mounts.content(request.config.token) or b"")
        return shown

    async def close(self) -> None:
        if self._closed and self._mistake == "is closed once only":
            raise RuntimeError("closed already")
        self._closed = True


class MemoryHarness:
    secrets: Sequence[str] = (SECRET,)
    deadline = DEADLINE
    parameter = ParameterCase("topic", "body.metadata.name", read=lambda r: r.config.topic, expected="w1")
    config: Mapping[str, Any] = {"topic": "events", "token": {"name": "api", "key": "token"}}

    def __init__(self, folder: Path, mistake: str) -> None:
        self.mistake = mistake
        self.mode = ""
        self.events: list[str] = []
        (folder / "api").mkdir()
        (folder / "api" / "token").write_text(SECRET)
        self.context = Context("sensor", concurrency=4, keys=Keys(Mounts(folder, folder)))
        harness = self

        class MemoryType(TriggerType[Config]):
            model = Loose if mistake == "accepts unknown fields" else Config
            example = "topic" if mistake == "has a wrong example" else "{topic: events, token: {name: a, key: b}}"

            def build(self, config: Config, policy: Policy, context: Context) -> MemoryTrigger:
                return MemoryTrigger(harness, context)

        self.type = MemoryType()

    def event(self, number: int) -> Event:
        return event_of(number)

    async def arrived(self) -> list[str]:
        return self.events

    async def work(self) -> None:
        self.mode = ""

    async def fail_for_now(self) -> None:
        self.mode = "fails for now"

    async def fail_for_good(self) -> None:
        self.mode = "fails for good"

    async def hang(self) -> None:
        self.mode = "hangs"


MISTAKES = {
    "reports before the work is done": "success_is_reported_after_the_work_is_done",
    "raises": "a_failure_that_may_pass_is_retried",
    "retries forever": "a_permanent_failure_is_a_failure",
    "has no deadline": "a_peer_that_hangs_is_retried_within_the_deadline",
    "blocks the event loop": "a_peer_that_hangs_does_not_block_the_event_loop",
    "swallows a cancellation": "an_execution_may_be_cancelled",
    "is closed once only": "a_trigger_is_closed_twice_without_harm",
    "acts in a preview": "a_preview_does_nothing",
    "shows a secret": "a_preview_reads_no_secret_and_shows_none",
    "reads a secret for a preview": "a_preview_reads_no_secret_and_shows_none",
    "repeats a secret": "no_outcome_shows_a_secret",
    "cannot go on without a secret": "a_secret_that_cannot_be_read_is_retried",
    "ignores its parameters": "parameters_of_the_type_are_applied",
    "accepts unknown fields": "an_unknown_field_is_refused",
    "has a wrong example": "the_type_describes_itself",
}
BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_type_without_mistakes_passes(case: Any, tmp_path: Path) -> None:
    await case.run(MemoryHarness(tmp_path, ""))


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_found(mistake: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, OSError, RuntimeError, Unreadable)):
        await BY_NAME[MISTAKES[mistake]].run(MemoryHarness(tmp_path, mistake))
