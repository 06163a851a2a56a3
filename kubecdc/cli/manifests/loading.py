"""Loads manifests, or reports every problem in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TextIO

from kubecdc.cli.manifests import names, references
from kubecdc.cli.manifests.documents import Document, read
from kubecdc.cli.manifests.fields import nearest
from kubecdc.cli.manifests.findings import check
from kubecdc.cli.manifests.notices import notices_of
from kubecdc.cli.manifests.problem import ManifestErrors, Place, Problem, path_text
from kubecdc.cli.manifests.without_effect import without_them
from kubecdc.errors import UsageError
from kubecdc.manifest.finding import Finding
from kubecdc.manifest.model import API_VERSIONS, Manifest
from kubecdc.storage.manifest import EventBus, default_bus
from kubecdc.watcher.manifest import EventSource
from kubecdc.workers.sensor.manifest import Sensor

__all__ = ["ManifestErrors", "Manifests", "Problem", "load", "load_valid"]

KINDS: dict[str, type[Manifest]] = {"EventBus": EventBus, "EventSource": EventSource, "Sensor": Sensor}


@dataclass(frozen=True)
class Manifests:
    """The declared manifests by what they are called (`Manifest.name`), and notices for the operator.

    ``problems`` are those of the documents that `load_valid` has left out.
    """

    buses: dict[str, EventBus]
    sources: dict[str, EventSource]
    sensors: dict[str, Sensor]
    notices: list[str]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _Found:
    """A manifest as it was read. ``model`` is None if it could not be validated."""

    place: Place
    named: names.Named
    content: dict[str, Any]
    model: Manifest | None

    @property
    def kind(self) -> str:
        return self.named.kind

    @property
    def name(self) -> str:
        return self.named.name


@dataclass
class _Loading:
    manifests: list[_Found] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def report(self, place: Place, findings: Iterable[Finding]) -> None:
        for finding in findings:
            path = path_text((*place.base, *finding.location))
            self.problems.append(Problem(place, path, finding.message, finding.hint))

    @property
    def in_order(self) -> list[Problem]:
        """The problems, those of a file together, in the order of its documents."""
        files = [problem.place.file for problem in self.problems]
        return sorted(self.problems, key=lambda problem: (files.index(problem.place.file), problem.place.document))


def load(paths: Sequence[str], *, stdin: TextIO, to_run: bool = False) -> Manifests:
    """Read, validate and cross-check the manifests in files, directories (not subdirectories) and ``-`` (stdin).

    With ``to_run``, what this process needs to run their triggers is checked too, such as packages.
    Without an EventBus, the result has one named ``default``, of the type that has a default.
    Raises ManifestErrors with every problem found, UsageError without a path.
    """
    loading = _read(paths, stdin)
    _check_references(loading, to_run=to_run)
    if loading.problems:
        raise ManifestErrors(loading.in_order)
    return _declared(loading.manifests, loading.notices)


def load_valid(paths: Sequence[str], *, stdin: TextIO) -> Manifests:
    """Like `load`, but without the documents that have a problem, for commands that only show how things are.

    An EventBus counts although what it refers to has a problem. Raises ManifestErrors if no EventBus is left: a
    document that cannot be read may have been one.
    """
    loading = _read(paths, stdin)
    own = tuple(loading.problems)
    _check_references(loading, to_run=False)
    left = [
        manifest
        for manifest in loading.manifests
        if not any(p.place.holds(manifest.place) for p in (own if manifest.kind == "EventBus" else loading.problems))
    ]
    known = all(problem.place.manifest.startswith(("EventSource", "Sensor")) for problem in own)
    if not known and not any(manifest.kind == "EventBus" for manifest in left):
        raise ManifestErrors(loading.in_order)
    return replace(_declared(left, loading.notices), problems=tuple(loading.in_order))


def _read(paths: Sequence[str], stdin: TextIO) -> _Loading:
    """What is in the files, and the problems that each document has without the others."""
    if not paths:
        raise UsageError("no manifest is given", hint="name files or a directory with -f")
    loading = _Loading()
    for path in dict.fromkeys(paths):
        documents, problems = read(path, stdin)
        loading.problems.extend(problems)
        before = len(loading.manifests), len(loading.problems)
        ours = any(_is_ours(document.content) for document in documents)
        for document in documents:
            _take(replace(document, strict=document.strict and not ours), loading)
        if not problems and before == (len(loading.manifests), len(loading.problems)):
            loading.problems.append(Problem(Place(path), "", "has no EventSource, EventBus or Sensor"))
    for place, finding in names.of_several((m.named, m.place) for m in loading.manifests):
        loading.report(place, [finding])
    return loading


def _declared(manifests: Sequence[_Found], notices: Sequence[str]) -> Manifests:
    models = [manifest.model for manifest in manifests]
    buses = {m.name: m for m in models if isinstance(m, EventBus)}
    return Manifests(
        buses=buses or {default_bus().name: default_bus()},
        sources={m.name: m for m in models if isinstance(m, EventSource)},
        sensors={m.name: m for m in models if isinstance(m, Sensor)},
        notices=[*notices, *(n for m in manifests if m.model for n in notices_of(m.place, m.model, m.content))],
    )


def _is_ours(content: Any) -> bool:
    return isinstance(content, dict) and content.get("kind") in KINDS and content.get("apiVersion") in API_VERSIONS


def _take(document: Document, loading: _Loading) -> None:
    """Validate a document, or report that it is not one of the three kinds."""
    place, content = document.place, document.content
    if content is None:
        return
    api, kind = (content.get("apiVersion"), content.get("kind")) if isinstance(content, dict) else (None, None)
    kind = kind if isinstance(kind, str) else None
    if kind is not None and (kind == "List" or kind.removesuffix("List") in KINDS) and kind not in KINDS:
        items = content.get("items")
        if place.base:  # it may contain itself
            loading.report(place, [Finding((), "is a list in a list", "write the documents one after the other")])
            return
        for i, item in enumerate(items if isinstance(items, list) else []):
            _take(replace(document, place=replace(place, base=("items", i)), content=item), loading)
        return
    if api in API_VERSIONS and kind in KINDS:
        named = names.Named.of(kind, content)
        place = replace(place, manifest=f"{kind}/{named.written}" if named.written else kind)
        content, notices = without_them(KINDS[kind], content)
        loading.notices.extend(f"{place}: {notice}" for notice in notices)
        model, findings = check(KINDS[kind], content)
        loading.report(place, findings)
        loading.manifests.append(_Found(place, named, content, model))
        return
    wrong = _almost(api, kind)
    if wrong is not None:
        loading.report(place, [wrong])
    elif document.strict:
        loading.report(place, [Finding((), f"{_kind_text(api, kind)} is not an EventSource, EventBus or Sensor")])
    else:
        loading.notices.append(f"{place}: skipped: {_kind_text(api, kind)} is not an EventSource, EventBus or Sensor")


def _almost(api: object, kind: str | None) -> Finding | None:
    """The problem of a document that is probably intended as one of the three kinds, or None."""
    versions = " or ".join(API_VERSIONS)
    groups = tuple(version.split("/")[0] for version in API_VERSIONS)
    if kind in KINDS and api is None:
        return Finding(("apiVersion",), "is required", f"it is {versions}")
    if kind in KINDS and isinstance(api, str) and api.split("/")[0] in groups:
        return Finding(("apiVersion",), f"{api!r} is not supported", f"write {versions}")
    if api in API_VERSIONS and kind is None:
        return Finding(("kind",), "is required", f"it is one of {', '.join(KINDS)}")
    if api in API_VERSIONS and kind is not None and (near := nearest(kind, KINDS)):
        return Finding(("kind",), f"{kind!r} is not a kind", f"did you mean `{near}`?")
    return None


def _kind_text(api: object, kind: str | None) -> str:
    if kind is None:
        return "a document without `kind`"
    return f"{kind} ({api})" if isinstance(api, str) else kind


def _check_references(loading: _Loading, *, to_run: bool) -> None:
    models = [m.model for m in loading.manifests]
    sources = {m.name: _offer(m) for m in loading.manifests if m.kind == "EventSource"}
    buses = {m.name for m in loading.manifests if m.kind == "EventBus"} or {default_bus().name}
    known = references.Known(
        sources=sources,
        buses=None if "" in buses else frozenset(buses),
        sensors=tuple(m for m in models if isinstance(m, Sensor)),
        stores={store: m.name for m in reversed(models) if isinstance(m, EventBus) for store in m.stores},
        without_state=frozenset(m.name for m in models if isinstance(m, EventBus) and not m.spec.takes_frequent_state),
        namesakes=names.Namesakes.of(m.named for m in loading.manifests),
        to_run=to_run,
    )
    for manifest in loading.manifests:
        match manifest.model:
            case EventSource() as source:
                loading.report(manifest.place, references.of_source(source, known))
            case Sensor() as sensor:
                loading.report(manifest.place, references.of_sensor(sensor, known))
            case EventBus() as bus:
                loading.report(manifest.place, references.of_bus(bus, known))
    wanted = known.sensors or any(m.spec.subscriptions for m in models if isinstance(m, EventBus))
    if wanted and not sources:
        loading.notices.append(
            "no EventSource is given, so it was not checked whether the events of the subscriptions exist"
        )


def _offer(manifest: _Found) -> references.Offer | None:
    """The events of a source. A source with problems is included if the names of its entries are known."""
    if isinstance(manifest.model, EventSource):
        spec = manifest.model.spec
        return references.Offer(frozenset(spec.resource), spec.event_bus_name)
    raw = manifest.content.get("spec")
    entries = raw.get("resource") if isinstance(raw, dict) else None
    return references.Offer(frozenset(map(str, entries)), "") if isinstance(entries, dict) and entries else None
