"""The field ``sqs`` of an EventBus manifest."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from kubecdc.manifest.fields import Quantity, invalid
from kubecdc.manifest.model import Model
from kubecdc.storage.sqs.settings import MESSAGE_BYTES

LEAST_BYTES = 16 << 10
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,20}")
_ENDPOINT = re.compile(r"https?://[^/?#\s@]+/?")


class Sqs(Model):
    """A bus on Amazon SQS. Credentials come from boto3's own chain, and so does the region unless it is given."""

    region: str = ""
    queue_prefix: str = "kubecdc"
    fifo: bool = True
    fair_queues: bool = False
    endpoint_url: str = ""
    compress_above: Quantity = Field(64 << 10, ge=0)
    max_message_bytes: Quantity = MESSAGE_BYTES

    @field_validator("queue_prefix")
    @classmethod
    def _names_queues(cls, value: str) -> str:
        if not _PREFIX.fullmatch(value):
            raise invalid(f"{value!r} cannot begin the name of a queue", "1 to 20 letters, digits, - and _")
        return value

    @field_validator("endpoint_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and not _ENDPOINT.fullmatch(value):
            raise invalid(
                f"{value!r} is not the URL of a server",
                "write it like https://sqs.eu-west-1.amazonaws.com or http://localhost:9324, without path and user",
            )
        return value.rstrip("/")

    @field_validator("max_message_bytes")
    @classmethod
    def _bound(cls, value: int) -> int:
        if not LEAST_BYTES <= value <= MESSAGE_BYTES:
            raise invalid("must be from 16Ki to 1Mi", "SQS itself takes 1Mi")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.fifo and self.fair_queues:
            raise invalid("has `fairQueues` on FIFO queues", "fair queues are standard queues: add `fifo: false`")
        return self
