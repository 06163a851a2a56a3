"""The template of a trigger: a field for each type of trigger that is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from pydantic import Field, create_model, model_validator

from kubecdc.manifest.fields import Printable, invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.conditions.manifest import Conditions
from kubecdc.workers.triggers.contract import TriggerType
from kubecdc.workers.triggers.registry import installed

ARGO_TYPES = (  # of Argo Events; refused, unless a package provides them
    "awsLambda", "custom", "nats", "slack", "openWhisk", "azureEventHubs",
    "azureServiceBus", "pulsar", "email",
)  # fmt: skip
_TYPES, _BROKEN = installed().types, installed().broken


def _attribute(name: str) -> str:
    return f"type_{name}"  # a type may have the name of an attribute that every model has


class Template(Conditions):
    """What a trigger does: exactly one of the installed types."""

    unsupported: ClassVar[Mapping[str, str]] = {
        **{name: f"trigger type `{name}` is not supported" for name in ARGO_TYPES if name not in _TYPES},
        **{name: f"trigger type `{name}` cannot be loaded: {reason}" for name, reason in _BROKEN.items()},
    }
    private = True
    type_fields = tuple(_TYPES)

    name: Printable

    @model_validator(mode="before")
    @classmethod
    def _null_is_empty(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        empty = [name for name, kind in _TYPES.items() if kind.null_is_empty and raw.get(name, ...) is None]
        return {**raw, **{name: {} for name in empty}}

    @model_validator(mode="after")
    def _one_type(self) -> Self:
        given = self._given()
        if len(given) > 1:
            raise invalid(f"has {len(given)} types: {', '.join(given)}", "make a trigger of each")
        if not given:
            examples = [f"`{name}: {kind.example}`" for name, kind in _TYPES.items()]
            raise invalid("has no trigger type", f"add {' or '.join(examples)}" if examples else "")
        return self

    def _given(self) -> list[str]:
        return [name for name in _TYPES if getattr(self, _attribute(name)) is not None]

    @property
    def type(self) -> str:
        """The name of its type."""
        return self._given()[0]

    @property
    def config(self) -> Model:
        """What the manifest says to that type."""
        return cast(Model, getattr(self, _attribute(self.type)))

    @property
    def trigger_type(self) -> TriggerType[Any]:
        """The type itself."""
        return _TYPES[self.type]


if TYPE_CHECKING:
    TriggerTemplate = Template
else:
    TriggerTemplate = create_model(
        "TriggerTemplate",
        __base__=Template,
        __module__=__name__,
        __doc__=Template.__doc__,
        **{_attribute(name): (kind.model | None, Field(None, alias=name)) for name, kind in _TYPES.items()},
    )
