"""Expressions in the grammar of govaluate, which Argo Events uses, compiled to closures.

https://github.com/Knetic/govaluate/blob/master/MANUAL.md. There are no loops, calls or attributes, so an evaluation
always ends. docs/filters.md describes the language, docs/argo-compatibility.md each difference.
"""

from kubecdc.workers.sensor.filters.expression.closures import Expression, compile_expression, operand
from kubecdc.workers.sensor.filters.expression.operations import kind

__all__ = ["Expression", "compile_expression", "kind", "operand"]
