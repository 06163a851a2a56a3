"""When a trigger that ran counts as a success."""

from __future__ import annotations

from collections.abc import Set
from typing import Annotated

from pydantic import Field, field_validator

from kubecdc.manifest.fields import Items, invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.sensor.retry_strategy import RetryStrategy


class StatusPolicy(Model):
    """The HTTP statuses that are a success."""

    allow: Items[Annotated[int, Field(ge=100, le=599)]]

    @field_validator("allow")
    @classmethod
    def _some(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise invalid("is empty: no answer would ever be a success")
        return value


class K8sPolicy(Model):
    """The labels that an object has once it has succeeded, and how long they are waited for."""

    labels: dict[str, str]
    backoff: RetryStrategy = RetryStrategy()
    error_on_backoff_timeout: bool = False

    @field_validator("labels")
    @classmethod
    def _some(cls, value: dict[str, str]) -> dict[str, str]:
        if not value:
            raise invalid("is empty: nothing would be waited for", "leave the policy out")
        return value


class Policy(Model):
    """When a trigger that ran counts as a success. Each type of trigger follows some parts of it, or none."""

    status: StatusPolicy | None = None
    k8s: K8sPolicy | None = Field(None, alias="k8s")

    @property
    def given(self) -> list[str]:
        """The names of the parts that the manifest has."""
        return [name for name in type(self).model_fields if getattr(self, name) is not None]

    def defect(self, followed: Set[str]) -> str:
        """Why it cannot be used with a type that follows these parts, "" if it can."""
        if self.k8s is not None and "k8s" not in followed:
            return "`k8s` is for triggers that make Kubernetes objects"
        return ""
