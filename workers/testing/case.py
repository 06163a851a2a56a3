"""A case of the suite, and what it needs from the author of the type."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from kubecdc.manifest.model import Model
from kubecdc.storage.contracts.event import SPEC_VERSION, Event
from kubecdc.workers.outcome import Outcome
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameter_manifest import Parameter
from kubecdc.workers.sensor.parameters import rewrite
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.triggers.contract import Context, Trigger, TriggerType

NAME = "w1"  # of the object in the events of `event_of`


@dataclass(frozen=True)
class ParameterCase:
    """A parameter that writes into the config: where it writes, what it reads, and how to see that it did.

    ``read`` takes the prepared request. ``data_key`` is a path in the data of the harness's events. ``own_dest`` is
    where the `parameters` in the config write, if not at ``dest``.
    """

    dest: str
    data_key: str
    read: Callable[[Any], object]
    expected: object
    use_raw_data: bool = False
    own_dest: str = ""


class Harness(Protocol):
    """One fresh trigger and its peer: the server, file or whatever the trigger works on."""

    context: Context  # cases change it
    secrets: Sequence[str]  # values that are mounted as `context` says, and must never be shown
    deadline: float  # seconds in which an execution ends if the peer hangs; choose a short one
    parameter: ParameterCase

    @property
    def type(self) -> TriggerType[Any]: ...

    @property
    def config(self) -> Mapping[str, Any]:
        """A valid part of the manifest, which uses the peer and every secret."""
        ...

    def event(self, number: int) -> Event:
        """An event; `event_of` makes one."""
        ...

    async def arrived(self) -> Sequence[str]:
        """The ids of the events that have arrived at the peer."""
        ...

    async def work(self) -> None:
        """From now on the peer works, as it does at the beginning."""
        ...

    async def fail_for_now(self) -> None:
        """From now on the work fails in a way that may pass. If the peer can repeat secrets in its error, it does."""
        ...

    async def fail_for_good(self) -> None:
        """From now on the work fails permanently, for each event that `event` makes."""
        ...

    async def hang(self) -> None:
        """From now on the peer does not answer."""
        ...


Body = Callable[[Harness], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """A rule that holds for every trigger type."""

    name: str
    run: Body


def collect(cases: list[Case]) -> Callable[[Body], Body]:
    """Decorator: a case with the name of its function."""

    def add(body: Body) -> Body:
        cases.append(Case(getattr(body, "__name__", repr(body)), body))
        return body

    return add


def event_of(number: int, **attributes: Any) -> Event:
    """An event of an object named `NAME`. Its data has ``type``, ``body.metadata.name`` and ``body.n``."""
    data = {"type": "UPDATE", "body": {"metadata": {"name": NAME}, "n": number, "text": "a\nb"}}
    given = {
        "specversion": SPEC_VERSION,
        "id": f"changed.uid.{number}.UPDATE",
        "source": "workflows",
        "subject": "changed",
        "type": "resource",
        "time": "2026-01-01T00:00:00.000000Z",
        "datacontenttype": "application/json",
        "partitionkey": "uid",
        "sequence": f"{number:020}",
        "epoch": 1,
        "data": msgspec.Raw(msgspec.json.encode(data)),
        **attributes,
    }
    return Event(**given)


def parameter(dest: str, data_key: str, *, use_raw_data: bool = False) -> Parameter:
    """A parameter of the manifest."""
    src = {"dependencyName": "dep", "dataKey": data_key, "useRawData": use_raw_data}
    return Parameter.model_validate({"src": src, "dest": dest})


class Running:
    """A trigger and its config. ``parameters`` are those beside the template, not those in the config."""

    def __init__(self, trigger: Trigger[Any], config: Model, parameters: Sequence[Parameter] = ()) -> None:
        self.trigger = trigger
        self._config = config
        self._parameters = parameters

    def prepare(self, event: Event) -> Any:
        """The trigger's own request, as the workers make it. Raises ParameterError."""
        values = Values(event)
        config = rewrite(self._config, self._parameters, values)
        return self.trigger.prepare(TriggerRequest("sensor", "trigger", "dep", event, config, values))

    async def execute(self, event: Event) -> Outcome:
        """Prepare and execute."""
        return await self.trigger.execute(self.prepare(event))


@asynccontextmanager
async def running(
    harness: Harness, config: Mapping[str, Any] | None = None, parameters: Sequence[Parameter] = ()
) -> AsyncIterator[Running]:
    """A trigger, which is closed at the end."""
    valid = harness.type.model.model_validate(harness.config if config is None else config)
    made = Running(harness.type.build(valid, Policy(), harness.context), valid, parameters)
    try:
        yield made
    finally:
        await made.trigger.close()
