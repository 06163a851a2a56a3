"""Parameters: values taken from the event, put into the template or the payload.

The rules are those of Argo Events (``ResolveParamValue``, ``ConstructPayload``, ``ApplyParams`` in sensors/triggers),
with gjson paths to read and sjson paths to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec
from pydantic import ValidationError

from kubecdc import jsonpath
from kubecdc.manifest.finding import without
from kubecdc.manifest.model import Model
from kubecdc.reasons import one_line
from kubecdc.workers.sensor import templates
from kubecdc.workers.sensor.parameter_manifest import Parameter, ParameterSource, PayloadParameter
from kubecdc.workers.sensor.values import Values

M = TypeVar("M", bound=Model)
SHOWN_PROBLEMS = 3  # of a template that is not valid
_encoder = msgspec.json.Encoder()


class ParameterError(Exception):
    """The event does not give what the manifest asks for, and never will. The text is one printable, bounded line."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


def resolve(source: ParameterSource, values: Values) -> object:
    """The value of a parameter: text, or any JSON with ``useRawData`` and a key. Raises ParameterError.

    What concerns the data has precedence over the attributes, then a template over a key. What gives nothing falls back
    to the next, in the end to ``value``; without ``value`` that is an error. Without any of them it is ``value``, or
    else the whole event. (Argo Events: ``ResolveParamValue``.)
    """
    found_in = values.of(source.dependency_name)
    if found_in is None:
        return source.value  # see `Values.has`
    values = found_in
    of: Literal["data", "context"]
    if source.data_key or source.data_template:
        of, template, key = "data", source.data_template, source.data_key
    elif source.context_key or source.context_template:
        of, template, key = "context", source.context_template, source.context_key
    else:
        return values.whole if source.value is None else source.value
    why = ""
    if template:
        try:
            return values.rendered(source, template, of)
        except templates.Runaway as e:
            raise ParameterError(f"{of}Template: {e}") from None
        except templates.TemplateError as e:
            why = f"{of}Template gives nothing for the event: {e}"
    if key:
        path = jsonpath.compile(key)
        found = values.find(path) if of == "data" else path.get(values.context)
        if found is not jsonpath.MISSING:
            return found if source.use_raw_data else _text(found)
        why = f"{why}, and it has nothing at {of}Key {key!r}" if why else f"the event has nothing at {of}Key {key!r}"
    if source.value is not None:
        return source.value
    if of == "data" and values.unreadable:
        raise ParameterError(f"the event's data cannot be read: {values.unreadable}")
    raise ParameterError(f"{why}, and the parameter has no default `value`")


def apply(document: Any, parameters: Sequence[PayloadParameter], values: Values) -> Any:
    """The document with the value of every parameter at its ``dest``. Raises ParameterError."""
    for parameter in parameters:
        document = _written(document, parameter, values)
    return document


def _written(document: Any, parameter: PayloadParameter, values: Values) -> Any:
    if not values.has(parameter.src):
        return document
    value = resolve(parameter.src, values)
    try:
        if parameter.operation in ("append", "prepend"):
            value = _joined(document, parameter, value)
        return jsonpath.set_path(document, parameter.dest, value)
    except ValueError as e:
        raise ParameterError(f"dest {parameter.dest!r}: {e}") from e


def payload(parameters: Sequence[PayloadParameter], values: Values) -> bytes:
    """The body that a ``payload`` builds: JSON, or the bare value of the first entry with an empty ``dest``."""
    document = None
    for parameter in parameters:
        if not parameter.dest and values.has(parameter.src):
            return text_of(parameter.src, values).encode()
        document = _written(document, parameter, values)
    return b"" if document is None else _encoder.encode(document)


def rewrite(model: M, parameters: Sequence[Parameter], values: Values, *, within: str = "") -> M:
    """A part of a manifest as the parameters make it, validated again. ``within`` is its field, for the message.

    Raises ParameterError.
    """
    if not parameters:
        return model
    document = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    written = apply(document, parameters, values)
    try:
        with templates.only_known():
            return type(model).model_validate(written)
    except ValidationError as e:
        start = (within,) if within else ()
        some = e.errors(include_url=False)[:SHOWN_PROBLEMS]
        found = [(".".join(map(str, (*start, *p["loc"]))), without(p["input"], p["msg"])) for p in some]
        problems = "; ".join(f"{place}: {message}" for place, message in found)
        # Without its cause, whose text has the values: they may be secrets.
        raise ParameterError(f"the parameters make a template that is not valid: {problems}") from None


def text_of(source: ParameterSource, values: Values) -> str:
    """The value of a parameter as text. Raises ParameterError."""
    return _text(resolve(source, values))


def _joined(document: object, parameter: PayloadParameter, value: object) -> object:
    """The present text and the value; the value alone if there is none."""
    present = jsonpath.compile(parameter.dest).get(document)
    if present is jsonpath.MISSING:
        return value
    old, new = jsonpath.text(present), _text(value)
    return old + new if parameter.operation == "append" else new + old


def _text(value: object) -> str:
    """As Argo: gjson's text, but ``null`` is written out."""
    return "null" if value is None else jsonpath.text(value)
