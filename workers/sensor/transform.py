"""The `transform` of a dependency: a program that makes other data of an event's."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from kubecdc.manifest.fields import invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.scripts import program
from kubecdc.workers.scripts.frames import Kind
from kubecdc.workers.scripts.program import Program


def compiles(kind: Kind) -> AfterValidator:
    """The check of a field with a program. An empty one is none, as in Argo."""

    def check(text: str) -> str:
        if text and (package := program.missing(kind)):
            raise invalid(f"needs the package `{package}`, which is not installed", program.INSTALL)
        if text and (problem := program.problem(kind, text)):
            raise invalid(f"is not valid: {problem}")
        return text

    return AfterValidator(check)


class Transform(Model):
    """A jq program or a Lua script, whose result becomes the event's data. Without either, the event stays as it is."""

    jq: Annotated[str, compiles("jq")] = ""
    script: Annotated[str, compiles("lua")] = ""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.jq and self.script:
            raise invalid("has `jq` and `script`", "leave one of them out; Argo Events runs `jq` only")
        return self

    @property
    def program(self) -> Program | None:
        """The program, None if there is none."""
        if self.jq:
            return Program("jq", self.jq, "transform.jq")
        return Program("lua", self.script, "transform.script") if self.script else None
