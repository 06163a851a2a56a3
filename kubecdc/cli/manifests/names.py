"""What manifests are called. In two namespaces, two of a kind may have one ``metadata.name``, if one has another name.

Kubernetes tells them apart by their namespaces. Here the namespace is no part of a name, and never was: checkpoints and
subscriptions would be others from the day on that a second manifest came, or went.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubecdc.cli.manifests.problem import Place
from kubecdc.manifest.finding import Finding, Location
from kubecdc.manifest.model import NAME_ANNOTATION


@dataclass(frozen=True)
class Named:
    """A manifest as others find it. ``written`` is its ``metadata.name``, ``name`` what it is called; "" if unknown."""

    kind: str
    namespace: str
    written: str
    name: str

    @classmethod
    def of(cls, kind: str, content: Mapping[str, Any]) -> Named:
        """The names of a manifest as it was read, valid or not."""
        metadata = content.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        annotations = metadata.get("annotations")
        annotations = annotations if isinstance(annotations, dict) else {}
        written = _text(metadata.get("name"))
        return cls(kind, _text(metadata.get("namespace")), written, _text(annotations.get(NAME_ANNOTATION)) or written)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def of_several(manifests: Iterable[tuple[Named, Place]]) -> Iterator[tuple[Place, Finding]]:
    """A problem for each manifest whose name another one before it has."""
    objects: dict[tuple[str, str, str], str] = {}
    names: dict[tuple[str, str], tuple[Named, str]] = {}
    for named, place in manifests:
        where = str(Place(place.file, place.document))
        same_object = objects.setdefault((named.kind, named.namespace, named.written), where)
        other, at = names.setdefault((named.kind, named.name), (named, where))
        if not named.written:
            continue
        if same_object is not where:
            yield place, Finding(("metadata", "name"), f"is already the name of one in {same_object}")
        elif other is not named:
            yield place, _taken(named, other, at)


def _taken(named: Named, other: Named, at: str) -> Finding:
    if named.name != named.written:
        location: Location = ("metadata", "annotations", NAME_ANNOTATION)
        return Finding(location, f"`{named.name}` is already the name of one in {at}")
    place = f"in namespace {other.namespace}" if other.namespace else "without a namespace"
    return Finding(
        ("metadata", "name"),
        f"is also the name of one {place} ({at}); checkpoints and subscriptions are identified by it",
        f"give the newer of the two the annotation `{NAME_ANNOTATION}: {named.namespace or 'other'}.{named.written}`",
    )


@dataclass(frozen=True)
class Namesakes:
    """The manifests that are not called by their ``metadata.name``, for references to them."""

    found: Mapping[tuple[str, str, str], str]

    @classmethod
    def of(cls, manifests: Iterable[Named]) -> Namesakes:
        return cls({(m.kind, m.namespace, m.written): m.name for m in manifests if m.name != m.written})

    def meant(self, kind: str, namespace: str, name: str, at: Location) -> Iterator[Finding]:
        """A problem if the name is the ``metadata.name`` of one in that namespace, which is called otherwise."""
        if called := self.found.get((kind, namespace, name)):
            place = f"of namespace {namespace}" if namespace else "without a namespace"
            yield Finding(at, f"the {kind} `{name}` {place} is called `{called}`", f"write `{at[-1]}: {called}`")
