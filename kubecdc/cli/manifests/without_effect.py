"""Fields that Argo Events accepts and does not look at. They are taken out of a manifest, each with a notice."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubecdc.cli.manifests.fields import bare
from kubecdc.cli.manifests.problem import path_text
from kubecdc.manifest.finding import Location
from kubecdc.manifest.model import Model


def without_them(model: type[Model], content: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The content of a manifest without them, with the present names of its fields; and the notices."""
    search = _Search()
    return search.kept(model, content, (), {}), [*search.notices()]


@dataclass
class _Search:
    """``found``: the fields by the place that has them and what there is to say."""

    found: dict[tuple[Location, str], list[str]] = field(default_factory=dict)

    def notices(self) -> Iterator[str]:
        for (at, what), names in self.found.items():
            place = f"{path_text(at)}: " if at else ""
            yield f"{place}{', '.join(names)}: accepted, {what}"

    def kept(self, annotation: Any, content: Any, at: Location, astray: Mapping[str, str]) -> Any:
        """The content of a field. ``astray`` are the fields that belong above it."""
        kind = bare(annotation)
        if _is_model(kind):
            return self._of_model(kind, content, at, astray) if isinstance(content, dict) else content
        inside = _inside(kind)
        if not _is_model(inside):  # so what is no part of the manifest itself is never entered
            return content
        if isinstance(content, list):
            return [self.kept(inside, each, (*at, i), astray) for i, each in enumerate(content)]
        if isinstance(content, dict):
            return {name: self.kept(inside, each, (*at, name), astray) for name, each in content.items()}
        return content

    def _of_model(self, model: type[Model], content: dict[str, Any], at: Location, astray: Mapping[str, str]) -> Any:
        fields, ignorable = model.field_types(), {**astray, **model.without_effect}
        astray = {**astray, **model.astray}
        kept: dict[str, Any] = {}
        for name, value in content.items():
            present = model.old_names.get(name, name)
            if present != name and present not in content:
                self._note(at, name, f"as the old name of `{present}`")
            elif name not in fields and (counts := f"`{present}` counts" if present != name else ignorable.get(name)):
                self._note(at, name, f"without effect: {counts}")
                continue
            kept[present] = self.kept(fields[present], value, (*at, present), astray) if present in fields else value
        return kept

    def _note(self, at: Location, name: str, what: str) -> None:
        self.found.setdefault((at, what), []).append(name)


def _inside(kind: Any) -> Any:
    """The type of the entries of a list, or of the values of a mapping."""
    arguments = typing.get_args(kind)
    return bare(arguments[0 if typing.get_origin(kind) is tuple else -1]) if arguments else None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Model)
