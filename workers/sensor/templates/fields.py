"""How templates read fields: of objects, and of nothing else, as Go does with decoded JSON.

gotpl would read the attributes of any value, and text of Python has methods: ``{{ .Input.name.zfill 1000000000 }}``.
Its sandbox refuses them, but takes three times as long.
"""

from __future__ import annotations

from typing import Any

from gotpl.errors import TemplateExecutionError
from gotpl.funcs.sprig.semver import Version
from gotpl.runtime.sync_vm import _VALUE_ADAPTERS
from gotpl.runtime.values import INVALID, ValueAdapter

OBJECTS = "objects"  # the name under which gotpl finds the `Fields`
_OF_VERSION = frozenset({"Major", "Minor", "Patch", "Prerelease", "Metadata", "Original", "Compare"})


class Fields(ValueAdapter):  # type: ignore[misc]  # it is Any without gotpl
    """Reads fields of objects, and those of ``semver``."""

    def lookup(self, value: Any, field: str) -> Any:
        """A field of a value. What is missing has no value; a field of anything but an object is an error."""
        if isinstance(value, dict):
            return value.get(field, INVALID)
        if value is INVALID:
            return INVALID
        if isinstance(value, Version) and field in _OF_VERSION:
            return getattr(value, field)
        raise TemplateExecutionError(f"there is no field `{field}`, because the value is not an object")


_VALUE_ADAPTERS[OBJECTS] = Fields()
