"""How an EventBus manifest asks for encryption."""

from __future__ import annotations

from pydantic import field_validator

from kubecdc.manifest.fields import Items, invalid
from kubecdc.manifest.model import Model
from kubecdc.manifest.secrets import KeyRef


class Encryption(Model):
    """The keys for what objects contain: the first one encrypts, and all of them decrypt."""

    keys: Items[KeyRef]

    @field_validator("keys")
    @classmethod
    def _some(cls, value: tuple[KeyRef, ...]) -> tuple[KeyRef, ...]:
        if not value:
            raise invalid("needs a key", "leave `encryption` out to encrypt nothing")
        if twice := next((ref for i, ref in enumerate(value) if ref in value[:i]), None):
            raise invalid(f"names the {twice} twice", "leave one of them out")
        return value
