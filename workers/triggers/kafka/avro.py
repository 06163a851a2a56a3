"""Values in Avro, in the format of Confluent's serializers: a zero, the id of the schema, the value.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_writer
from fastavro.schema import SchemaParseException
from fastavro.validation import ValidationError, ValidationErrorData, validate

from kubecdc.concurrency import INLINE_BYTES, in_thread
from kubecdc.workers.outcome import Failure, Retry
from kubecdc.workers.triggers.kafka.undone import Undone

DEEPEST = 64  # levels of data for a schema that contains itself: the time for them grows with their square
_KINDS: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


class UnusableSchema(Exception):
    """The schema is not an Avro schema, or lacks a type. The text says why."""


class Schema:
    """A schema from a registry. ``texts`` are the schemas that it refers to, dependencies first, and then its own."""

    def __init__(self, number: int, texts: list[str]) -> None:
        self._name = f"schema {number}"
        self._prefix = b"\0" + number.to_bytes(4, "big")
        known: dict[str, Any] = {}
        try:
            parsed = [parse_schema(msgspec.json.decode(text), known) for text in texts]
            self._recursive = any(_contains_itself(schema) for schema in parsed)
        except (SchemaParseException, ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
            raise UnusableSchema(f"{type(e).__name__}: {e}") from e
        self._schema: Any = parsed[-1]

    async def encoded(self, value: bytes, seconds: float) -> bytes:
        """JSON as Avro. Raises Undone: a value that does not fit is a failure, whose reason names the field."""
        if len(value) <= INLINE_BYTES:
            return self._encode(value)
        try:
            return await in_thread(partial(self._encode, value), seconds=seconds)
        except TimeoutError:
            raise Undone(Retry(f"{self._name}: writing the value takes more than {seconds:g} s")) from None

    def _encode(self, value: bytes) -> bytes:
        try:
            data = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Undone(Failure(f"{self._name}: the value is not JSON, and so cannot become Avro")) from None
        if self._recursive and _is_deep(data):
            raise Undone(Failure(f"{self._name}: the value is nested more than {DEEPEST} levels deep"))
        try:
            validate(data, self._schema)  # the writer takes 1.5 for 1, and false for ""
            written = io.BytesIO(self._prefix)
            written.seek(0, io.SEEK_END)
            schemaless_writer(written, self._schema, data)
        except ValidationError as e:
            raise Undone(Failure(f"{self._name} does not fit the value: {_told(e.errors)}")) from None
        except (ValueError, TypeError, OverflowError, AttributeError, KeyError) as e:  # whose texts have values
            raise Undone(Failure(f"{self._name} does not fit the value: {type(e).__name__}")) from None
        return written.getvalue()


def _told(errors: Sequence[ValidationErrorData]) -> str:
    """Which field is wrong, and what it should be: the branches of a union are errors of the same field."""
    field = errors[0].field
    wanted = dict.fromkeys(_type(error.schema) for error in errors if error.field == field)
    found = errors[0].datum
    has = "is missing or null" if found is None else f"is {_KINDS.get(type(found), 'something else')}"
    where = f"field `{field}`" if field else "it"
    return f"{where} must be {' or '.join(wanted)}, and {has}"


def _type(schema: Any) -> str:
    if isinstance(schema, dict):
        kind = schema.get("name") or schema.get("type")
        return f"{kind} ({schema['logicalType']})" if "logicalType" in schema else str(kind)
    return "one of a union" if isinstance(schema, list) else str(schema)


def _contains_itself(schema: Any, above: tuple[str, ...] = ()) -> bool:
    """Whether a type in it is part of itself. ``above`` are the names of what it is part of."""
    if isinstance(schema, str):
        return schema in above
    if isinstance(schema, list):
        return any(_contains_itself(branch, above) for branch in schema)
    inside = (*above, schema["name"]) if "name" in schema else above
    parts = [schema[part] for part in ("type", "items", "values") if part in schema]
    return any(_contains_itself(part, inside) for part in (*parts, *(f["type"] for f in schema.get("fields", ()))))


def _is_deep(data: Any) -> bool:
    level = [data]
    for _ in range(DEEPEST):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return bool(level)
