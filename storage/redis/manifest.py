"""The ``redis`` bus as an EventBus manifest writes it."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from kubecdc.manifest.fields import invalid
from kubecdc.manifest.model import Model
from kubecdc.manifest.secrets import KeyRef, Tls
from kubecdc.storage.redis import url as redis_url


class Redis(Model):
    """A bus on Redis Streams, shared by any number of machines."""

    url: str
    username: str = ""
    password: KeyRef | None = None
    sentinel_username: str = ""
    sentinel_password: KeyRef | None = None
    tls: Tls | None = None
    partitions: int = Field(64, ge=1, le=1024)

    @field_validator("url")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            redis_url.parse(value)
        except redis_url.BadUrl as e:
            raise invalid(str(e), e.hint) from None
        return value

    @model_validator(mode="after")
    def _meant(self) -> Self:
        url = redis_url.parse(self.url)
        for given, name, there in (
            (self.username, "username", url.username),
            (self.password, "password", url.password),
            (self.sentinel_username, "sentinelUsername", url.sentinel_username),
            (self.sentinel_password, "sentinelPassword", url.sentinel_password),
        ):
            if given and there:
                raise invalid(f"says the {name} twice", f"leave it out of `url`, or leave `{name}` out")
            if given and name.startswith("sentinel") and url.kind != "sentinel":
                raise invalid(f"has a `{name}`, and its `url` names no Sentinels", redis_url.EXAMPLES["sentinel"])
        if self.tls and url.tls is None:
            raise invalid("has `tls`, and its `url` does not ask for TLS", "write rediss instead of redis")
        return self
