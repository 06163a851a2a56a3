"""References to keys of Secrets and ConfigMaps, and TLS settings made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, model_validator

from kubecdc.manifest.fields import DnsSubdomain, invalid
from kubecdc.manifest.model import Model

_KEY = re.compile(r"(?!\.\.)[-._A-Za-z0-9]{1,253}")  # as Kubernetes checks the keys of Secrets and ConfigMaps


def _key(key: str) -> str:
    if key == "." or not _KEY.fullmatch(key):
        raise invalid(f"{key!r} is not a key of a Secret or ConfigMap", "letters, digits, `-`, `_` and `.`")
    return key


class KeyRef(Model):
    """A key of a Secret."""

    kind: ClassVar[Literal["Secret", "ConfigMap"]] = "Secret"
    ignored: ClassVar[frozenset[str]] = frozenset({"optional"})  # as in Argo, the key is required in any case

    name: DnsSubdomain
    key: Annotated[str, AfterValidator(_key)]

    def __str__(self) -> str:
        return f"key `{self.key}` of {self.kind} `{self.name}`"


class ConfigMapKeyRef(KeyRef):
    """A key of a ConfigMap."""

    kind: ClassVar[Literal["Secret", "ConfigMap"]] = "ConfigMap"


class ValueFrom(Model):
    """Where the value of a header is: in exactly one place."""

    secret_key_ref: KeyRef | None = None
    config_map_key_ref: ConfigMapKeyRef | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise invalid("needs exactly one of `secretKeyRef` and `configMapKeyRef`")
        return self

    @property
    def ref(self) -> KeyRef:
        """The one that is given."""
        found = self.secret_key_ref or self.config_map_key_ref
        assert found is not None
        return found


class Tls(Model):
    """How the server is verified, and the certificate that is shown to it.

    ``enabled`` alone asks for TLS with the system's authorities, which an address with TLS has anyway.
    """

    ca_cert_secret: KeyRef | None = None
    client_cert_secret: KeyRef | None = None
    client_key_secret: KeyRef | None = None
    insecure_skip_verify: bool = False
    enabled: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.client_cert_secret is None) != (self.client_key_secret is None):
            raise invalid("needs both `clientCertSecret` and `clientKeySecret`, or neither")
        if not (self.ca_cert_secret or self.client_cert_secret or self.insecure_skip_verify or self.enabled):
            raise invalid("says nothing", "leave it out: https:// is verified by the system's authorities")
        return self


def key_refs(part: object) -> Iterator[KeyRef]:
    """All references in a part of a manifest."""
    return (ref for _, ref in located_refs(part))


def located_refs(part: object, *path: str) -> Iterator[tuple[str, KeyRef]]:
    """All references in a part of a manifest, each with its path there: ``basicAuth.password``."""
    if isinstance(part, KeyRef):
        yield ".".join(path), part
    elif isinstance(part, Model):
        for name, field in type(part).model_fields.items():
            yield from located_refs(getattr(part, name), *path, field.alias or name)
    elif isinstance(part, tuple):
        for i, item in enumerate(part):
            yield from located_refs(item, *path, str(i))
