"""What a trigger type is: its part of the manifest, and what acts on events.

A type is found through the entry point group ``kubecdc.triggers``. The name of the entry point is the name of its field
in a trigger's ``template``. See docs/write-a-trigger.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

from kubecdc.cluster.access_rule import AccessRule as AccessRule  # a part of the contract
from kubecdc.cluster.keys import Keys
from kubecdc.cluster.shared import SharedCluster, no_cluster
from kubecdc.manifest.finding import Finding, Location
from kubecdc.manifest.model import Model
from kubecdc.workers.addresses import EVERYWHERE, Addresses
from kubecdc.workers.outcome import Outcome
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameter_manifest import FromEvent
from kubecdc.workers.sensor.policy import Policy

Config = TypeVar("Config", bound=Model)
Prepared = TypeVar("Prepared")
Render = Callable[[Mapping[str, object]], bytes]
_encoder = msgspec.json.Encoder()


def json_line(record: Mapping[str, object]) -> bytes:
    """A record as one line of JSON."""
    return _encoder.encode(record) + b"\n"


@dataclass(frozen=True)
class Context:
    """What a trigger is built from besides its own part of the manifest."""

    sensor: str  # the name of the Sensor
    concurrency: int  # executions at the same time, at most
    logging_fields: Mapping[str, str] = field(default_factory=dict)  # of the Sensor
    render: Render = json_line  # a record as a line for standard output, as --log-format says
    keys: Keys = field(default_factory=Keys)  # reads Secrets and ConfigMaps
    namespace: str = "default"  # of the Sensor
    cluster: SharedCluster = field(default_factory=lambda: SharedCluster(no_cluster))  # of all triggers of the process
    addresses: Addresses = EVERYWHERE  # where it may connect to: `kubecdc.workers.connector.Connector` asks it


class Trigger(Protocol[Prepared]):
    """Acts on events. There is one for each trigger of a Sensor, and all its executions share it.

    ``Prepared`` is a type of its own. No method may show a secret: not in an outcome, a preview or an error.
    """

    def prepare(self, request: TriggerRequest[Any]) -> Prepared:
        """What `execute` does for an event, with every parameter of the type applied. Does no I/O.

        For a large event it is called in a thread, so that it does not hold up the event loop.

        Raises ParameterError if the event can never be handled; it becomes a dead letter.
        """
        ...

    async def execute(self, request: Prepared) -> Outcome:
        """Do the work once, and report when it is done. It ends within a deadline of its own.

        It may be cancelled at any time, and repeated for the same request. An exception counts as a failed attempt.
        """
        ...

    def preview(self, request: Prepared) -> Mapping[str, object]:
        """What `execute` would do, as values that become JSON. Nothing is done, and no Secret is read.

        Raises ParameterError.
        """
        ...

    async def close(self) -> None:
        """Release what it holds. Nothing is executed afterwards. May be called twice."""
        ...


class TriggerType(ABC, Generic[Config]):
    """A type of trigger. ``Config`` is its model; it is made without arguments, and keeps no state.

    The module that defines it must not import a client library: ``build``, or what that returns, does.
    """

    model: ClassVar[type[Model]]  # its part of the manifest
    example: ClassVar[str]  # the shortest valid one, for hints: "{url: …}"
    null_is_empty: ClassVar[bool] = False  # whether a field without a value means the defaults
    policies: ClassVar[Set[str]] = frozenset()  # the parts of the trigger's ``policy`` that it follows
    fixed: ClassVar[Mapping[str, str]] = {}  # fields that no parameter may write, each with a hint
    uses_cluster: ClassVar[bool] = False  # whether workers connect to the cluster at their start

    def parameters(self, config: Config) -> Iterator[tuple[Location, FromEvent]]:
        """Everything in the config that takes a value from the event, and its location in the config.

        These are the entries of its lists that extend `FromEvent`. A `Parameter` among them writes into the config.
        """
        for name, info in type(config).model_fields.items():
            value = getattr(config, name)
            if isinstance(value, tuple):
                for i, item in enumerate(value):
                    if isinstance(item, FromEvent):
                        yield (info.alias or name, i), item

    def problems(self, config: Config, written: Set[str]) -> Iterator[Finding]:
        """What is wrong with a config that its model accepts. Locations are relative to the config.

        ``written`` has the paths that parameters write: they cannot be checked before there is an event.
        """
        yield from ()

    def missing(self, config: Config, written: Set[str]) -> Iterator[Finding]:
        """What this process lacks to run a trigger of a valid config, such as a package. Arguments as for `problems`.

        Only what runs triggers asks, and `kubecdc validate`: a watcher, or a command for the bus, needs none of it.
        """
        yield from ()

    def notices(self, config: Config) -> Iterator[str]:
        """What the author of a valid config should know, such as a field without effect."""
        yield from ()

    def rules(self, config: Config, written: Set[str], namespace: str) -> Sequence[AccessRule]:
        """The permissions in the cluster that it needs. `kubecdc validate --cluster` asks for them.

        ``written`` as in `problems`; ``namespace`` is that of the Sensor.
        """
        return ()

    @abstractmethod
    def build(self, config: Config, policy: Policy, context: Context) -> Trigger[Any]:
        """The trigger. Called within a running event loop; connections are opened by the first execution."""
