"""Parameters as a manifest writes them: where a value comes from, and where it goes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kubecdc.manifest.fields import WritePath, invalid, read_path, write_path
from kubecdc.manifest.model import Model
from kubecdc.workers.sensor import templates


def _template(text: str) -> str:
    try:
        templates.compile(text)
    except templates.TemplateError as e:
        raise invalid(f"is not a template: {e}", e.hint) from e
    return text


TemplateText = Annotated[str, AfterValidator(_template)]  # a Go template, compiled
OptionalTemplate = Annotated[str, AfterValidator(lambda text: text and _template(text))]
OptionalReadPath = Annotated[str, AfterValidator(lambda path: path and read_path(path))]
OptionalWritePath = Annotated[str, AfterValidator(lambda path: path and write_path(path))]


class ParameterSource(Model):
    """Where a value comes from: the event's data or its attributes, by a Go template or a gjson path."""

    dependency_name: str = Field(min_length=1)
    context_key: OptionalReadPath = ""
    context_template: OptionalTemplate = ""
    data_key: OptionalReadPath = ""
    data_template: OptionalTemplate = ""
    value: str | None = None
    use_raw_data: bool = False


class FromEvent(Model):
    """Something in a manifest that takes its value from the event."""

    src: ParameterSource


class PayloadParameter(FromEvent):
    """A value and where it goes; with an empty ``dest`` it is the whole body."""

    dest: OptionalWritePath = ""
    operation: Literal["", "overwrite", "append", "prepend"] = ""


class Parameter(PayloadParameter):
    """A value and where it goes, an sjson path. It writes into the manifest."""

    dest: WritePath
