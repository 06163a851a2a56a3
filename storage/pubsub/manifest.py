"""Pub/Sub as an EventBus manifest writes it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from kubecdc.manifest.fields import Duration, invalid
from kubecdc.manifest.model import Model
from kubecdc.storage.pubsub.settings import MESSAGE_RETENTION, TOPIC_RETENTION

_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]+")
_TOPIC = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9_.~-]{2,99}")
_ENDPOINT = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")


def _project(value: str) -> str:
    if not _PROJECT.fullmatch(value):
        raise invalid(f"{value!r} is not the id of a Google Cloud project", "write it like my-project-123")
    return value


def _topic(value: str) -> str:
    if not _TOPIC.fullmatch(value):
        raise invalid(
            f"{value!r} cannot be a topic",
            "3 to 100 characters: letters, digits and -_.~, a letter first, and not `goog` at the beginning",
        )
    return value


def _endpoint(value: str) -> str:
    if value and not _ENDPOINT.fullmatch(value):
        raise invalid(f"{value!r} is not a host", "write it like europe-west1-pubsub.googleapis.com, without https://")
    return value


class PubSub(Model):
    """A bus on a topic of Google Cloud Pub/Sub, with a subscription for each trigger.

    Credentials are those of the environment (application default credentials).
    """

    project_id: Annotated[str, AfterValidator(_project)] = Field(alias="projectID")
    topic: Annotated[str, AfterValidator(_topic)] = "kubecdc"
    endpoint: Annotated[str, AfterValidator(_endpoint)] = ""
    message_retention: Duration = MESSAGE_RETENTION

    @field_validator("message_retention")
    @classmethod
    def _accepted(cls, value: timedelta) -> timedelta:
        if not TOPIC_RETENTION[0] <= value <= MESSAGE_RETENTION:
            raise invalid("must be between 10m and 31d, the limits of Pub/Sub")
        return value
