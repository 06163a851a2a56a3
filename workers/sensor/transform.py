"""The `transform` of a dependency: a program that makes other data of an event's."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import model_validator

from kubecdc.manifest.fields import invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.scripts.program import Program, compiles


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
            return Program("jq", self.jq)
        return Program("lua", self.script) if self.script else None

    @property
    def field(self) -> str:
        """Where the manifest has the program, for messages."""
        return "transform.jq" if self.jq else "transform.script"
