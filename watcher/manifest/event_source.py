"""The EventSource: a set of entries by event name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from kubecdc.manifest.fields import DEFAULT_BUS, OF_PODS, BusName, Printable, invalid, no_kubeconfig
from kubecdc.manifest.model import Manifest, Model
from kubecdc.watcher.manifest.entry import Entry

OTHER_TYPES = (
    "amqp", "azureEventsHub", "azureQueueStorage", "azureServiceBus", "bitbucket", "bitbucketserver",
    "calendar", "emitter", "file", "generic", "gerrit", "github", "gitlab", "hdfs", "kafka", "minio", "mns",
    "mqtt", "nats", "nsq", "pubSub", "pulsar", "redis", "redisStream", "sftp", "slack", "sns", "sqs",
    "storageGrid", "stripe", "webhook",
)  # fmt: skip


def _no_slash(value: str) -> str:
    if "/" in value:
        raise invalid(
            f"the event name {value!r} has a `/`",
            "a checkpoint is called <EventSource>/<event name>/<namespace>: use `-`",
        )
    return value


EventName = Annotated[Printable, AfterValidator(_no_slash)]


class EventSourceSpec(Model):
    """The entries by event name."""

    ignored: ClassVar[frozenset[str]] = frozenset({"template", "replicas", "service"})
    without_effect: ClassVar[Mapping[str, str]] = OF_PODS
    unsupported: ClassVar[Mapping[str, str]] = {
        name: f"EventSource type `{name}` is not supported" for name in OTHER_TYPES
    }
    hints: ClassVar[Mapping[str, str]] = {
        "type": "the type of an EventSource is the name of the field that holds its entries, as in `resource: {…}`",
    }

    resource: dict[EventName, Entry] = Field(default_factory=dict)
    event_bus_name: BusName = DEFAULT_BUS

    _no_kubeconfig = model_validator(mode="before")(no_kubeconfig)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.resource:
            raise invalid("has no entries", "add some under `resource`")
        return self


class EventSource(Manifest):
    """Watches resources and publishes what happens to them."""

    kind: Literal["EventSource"]
    spec: EventSourceSpec


Entries = Mapping[str, Entry]  # by `<source>/<event name>`


def entries_of(sources: Iterable[EventSource]) -> dict[str, Entry]:
    """The entries of the sources, in the order of the manifests."""
    return {f"{s.name}/{name}": entry for s in sources for name, entry in s.spec.resource.items()}


def entry_of(key: str) -> str:
    """The name of the entry in the key of a checkpoint, which goes on with a namespace where each has a watch."""
    return "/".join(key.split("/")[:2])
