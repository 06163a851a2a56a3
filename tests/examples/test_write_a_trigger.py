"""The code in docs/write-a-trigger.md works as it is shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kubecdc.workers.outcome import Failure, Retry, Success
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.testing.case import Running, event_of
from kubecdc.workers.triggers.contract import Context

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-trigger.md").read_text()


class Rejected(Exception):
    pass


class Client:
    """A client library that exists in the page only."""

    error: Exception | None = None

    @classmethod
    async def connect(cls) -> Client:
        return cls()

    async def publish(self, topic: str, body: bytes, headers: dict[str, str]) -> None:
        if self.error:
            raise self.error

    async def close(self) -> None:
        pass


async def test_the_minimal_type_works(monkeypatch: pytest.MonkeyPatch) -> None:
    library: Any = ModuleType("some_broker")
    library.Client, library.Rejected = Client, Rejected
    monkeypatch.setitem(sys.modules, "some_broker", library)
    [code] = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "class PublishType" in block]
    names: dict[str, Any] = {"__name__": "my_package"}
    exec(compile(code, "write-a-trigger.md", "exec", dont_inherit=True), names)
    kind = names["PublishType"]()
    written = {"src": {"dependencyName": "dep", "dataKey": "body.metadata.name"}, "dest": "topic"}
    config = kind.model.model_validate({"topic": "events", "parameters": [written]})
    running = Running(kind.build(config, Policy(), Context("sensor", concurrency=1)), config)
    assert running.trigger.preview(running.prepare(event_of(1)))["topic"] == "w1"
    assert await running.execute(event_of(1)) == Success()
    for error, outcome in ((Rejected("no"), Failure), (ConnectionError("away"), Retry)):
        Client.error = error
        assert isinstance(await running.execute(event_of(1)), outcome)
    await running.trigger.close()
    await running.trigger.close()
