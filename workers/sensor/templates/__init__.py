"""Go templates with Sprig's functions: ``dataTemplate``, ``contextTemplate``, and the ``template`` of a data filter.

``compile(text).render(given(value, meter), meter)`` is the text that Go would give for ``{"Input": value}``. What that
may compute is bounded by the `Meter` of the event, so that no template holds up the event loop.
"""

from kubecdc.workers.sensor.templates.engine import Template, compile, given, only_known  # noqa: A004 - as in `re.compile`
from kubecdc.workers.sensor.templates.errors import NeedsThread, Runaway, TemplateError
from kubecdc.workers.sensor.templates.meter import IN_THREAD, INLINE, Meter
from kubecdc.workers.sensor.templates.values import of_json

__all__ = [
    "INLINE", "IN_THREAD", "Meter", "NeedsThread", "Runaway", "Template", "TemplateError", "compile", "given",
    "of_json", "only_known",
]  # fmt: skip
