"""The base of every model of a manifest, and of the three kinds.

The models are strict: an unknown field, or a number instead of text, is an error. The command line makes its messages
with the tables of each model: ``unsupported``, ``renamed``, ``hints``, ``ignored``, ``old_names``,
``without_effect``, ``astray``, ``private``, ``type_fields``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from kubecdc.manifest.fields import DnsSubdomain, dns_subdomain, invalid

API_VERSIONS = ("argoproj.io/v1alpha1", "kubecdc.io/v1alpha1")


ApiVersion = Literal["argoproj.io/v1alpha1", "kubecdc.io/v1alpha1"]


NAME_ANNOTATION = "kubecdc.io/name"
_EMPTY: tuple[Any, ...] = (None, "", {}, [])


class Model(BaseModel):
    """Base of every part of a manifest. Attributes are the snake_case of the manifest's camelCase fields.

    ``null`` is the same as leaving the field out, as in Kubernetes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)

    unsupported: ClassVar[Mapping[str, str]] = {}  # known fields that are refused, each with the message
    renamed: ClassVar[Mapping[str, str]] = {}  # other names of fields, each with the field that is meant
    hints: ClassVar[Mapping[str, str]] = {}  # fields that do not exist, each with what to write instead
    ignored: ClassVar[frozenset[str]] = frozenset()  # fields that are accepted and have no effect
    old_names: ClassVar[Mapping[str, str]] = {}  # names that fields had in Argo Events, each with the field
    without_effect: ClassVar[Mapping[str, str]] = {}  # fields that Argo Events ignores, each with what counts
    astray: ClassVar[Mapping[str, str]] = {}  # such fields anywhere below, because they belong here
    private: ClassVar[bool] = False  # no message repeats a value of its fields, because a secret may stand there
    type_fields: ClassVar[Collection[str]] = ()  # fields that packages add, of which a manifest has exactly one

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        known = cls.field_types()

        def counts(name: str, value: Any) -> bool:
            """An empty value asks for nothing that is not there yet."""
            may_be_absent = name in known or name in cls.unsupported
            empty = _EMPTY if name in cls.unsupported and not cls.type_fields else (None,)
            return name not in cls.ignored and not (may_be_absent and value in empty)

        return {name: value for name, value in raw.items() if counts(name, value)}

    @classmethod
    def field_types(cls) -> dict[str, Any]:
        """The fields as a manifest spells them, each with its annotation."""
        return {field.alias or name: field.annotation for name, field in cls.model_fields.items()}


class Metadata(Model):
    """The name of the manifest, and labels. Fields that the API server adds are ignored."""

    ignored: ClassVar[frozenset[str]] = frozenset({
        "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "ownerReferences",
        "finalizers", "deletionTimestamp", "deletionGracePeriodSeconds",
    })  # fmt: skip
    renamed: ClassVar[Mapping[str, str]] = {"generateName": "name"}
    hints: ClassVar[Mapping[str, str]] = {
        "generateName": "write `name`: subscriptions and checkpoints are called by it, and must be found again"
    }

    name: DnsSubdomain
    namespace: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    @field_validator("annotations")
    @classmethod
    def _name(cls, value: dict[str, str]) -> dict[str, str]:
        try:
            dns_subdomain(value.get(NAME_ANNOTATION, "none"))
        except PydanticCustomError as e:
            raise invalid(f"{NAME_ANNOTATION}: {e.message()}", (e.context or {}).get("hint", "")) from e
        return value


class Manifest(Model):
    """The base of each kind."""

    ignored: ClassVar[frozenset[str]] = frozenset({"status"})

    api_version: ApiVersion
    metadata: Metadata

    @property
    def name(self) -> str:
        """What everything calls it: subscriptions, checkpoints, metrics, other manifests.

        It is ``metadata.name``, or the annotation `NAME_ANNOTATION`. It depends on this manifest alone, so no other one
        that comes or goes can give it other checkpoints and subscriptions. That is why the namespace is no part of it.
        """
        return self.metadata.annotations.get(NAME_ANNOTATION, self.metadata.name)
