"""The object that a trigger sends: read from its source, filled in from the event, and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from kubecdc.concurrency import INLINE_BYTES, in_thread
from kubecdc.manifest import plain_yaml
from kubecdc.manifest.finding import Finding
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.objects.marks import Mark
from kubecdc.workers.objects.sources.manifest import Source
from kubecdc.workers.sensor.parameters import ParameterError

Document = dict[str, Any]
APPLYING = 30.0  # seconds for the parameters of a large event
# Fields that the API server writes. One that comes from an event is out of date.
_SERVERS = (
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
)


class Unusable(ValueError):
    """The source has no object of Kubernetes. The text begins with "it"."""


@lru_cache(maxsize=32)
def parsed(text: str) -> Document:
    """The object in a text. It is shared: do not change it. Raises Unusable."""
    try:
        content = plain_yaml.single(text)
    except ValueError as e:
        raise Unusable(str(e)) from None
    if not isinstance(content, dict):
        raise Unusable("it is not an object")
    return content


def in_manifest(source: Source) -> Document | None:
    """The object if the manifest itself has it. Raises Unusable."""
    if source.inline is not None:
        return parsed(source.inline)
    if source.resource is None and (lacking := source.lacks()):
        raise Unusable(f"its source has no `{lacking[0]}`")
    return source.resource


def written_inside(source: Source, written: Set[str]) -> bool:
    """Whether parameters of the trigger write the source, have to, or write into the object that the manifest has."""
    field = f"source.{'inline' if source.inline is not None else 'resource'}"
    inside = any(path.startswith(f"{field}.") for path in written)
    return inside or bool(source.lacks() or written & {"", "source", field})


def lacking(source: Source, written: Set[str]) -> Iterator[Finding]:
    """The fields that the source needs, if no parameter of the trigger writes them."""
    for field in source.lacks():
        path = ("source", *field.split("."))
        if not any(".".join(path[:depth]) in written for depth in range(len(path) + 1)):
            yield Finding(path, "is required")


def uninstalled(source: Source) -> Iterator[Finding]:
    """The packages that are needed to read the source, and are not there."""
    if source.s3 and find_spec("boto3") is None:
        yield _without("boto3", "s3", "s3")
    if source.git and source.git.github_app and find_spec("cryptography") is None:
        yield _without("cryptography", "github", "git", "githubApp")


def _without(package: str, extra: str, *field: str) -> Finding:
    hint = f"pip install 'kubecdc[{extra}]'"
    return Finding(("source", *field), f"needs the package {package}, which is not installed", hint)


def malformed(document: Mapping[str, Any]) -> str:
    """What makes it no object of Kubernetes, "" if nothing does. The text begins with "it"."""
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str) or not document[field]:
            return f"it has no `{field}`"
    metadata = document.get("metadata", {})
    if not isinstance(metadata, dict):
        return "its `metadata` is not a mapping"
    for field in ("labels", "annotations"):
        if not isinstance(metadata.get(field) or {}, dict):
            return f"its `metadata.{field}` is not a mapping"
    for field in ("name", "namespace", "generateName"):
        if not isinstance(metadata.get(field) or "", str):
            return f"its `metadata.{field}` is no text"
    return ""


def named(document: Document, mark: Mark) -> Document:
    """The object with a name, without what the API server writes."""
    metadata = {k: v for k, v in (document.get("metadata") or {}).items() if k not in _SERVERS}
    prefix = metadata.pop("generateName", "") or ""
    if not metadata.get("name"):
        metadata["name"] = mark.name(prefix)
    return {**document, "metadata": metadata}


async def computed(make: Callable[[], Document], event: Event) -> Document:
    """What ``make`` returns. For a large event it runs in a thread. Raises ParameterError."""
    if len(event.data) <= INLINE_BYTES:
        return make()
    try:
        return await in_thread(make, seconds=APPLYING)
    except TimeoutError:
        raise ParameterError(f"applying the parameters takes more than {APPLYING:g} s") from None
