"""The contract of trigger types as a test suite. Run every `Case` of `CASES` against a type.

See docs/write-a-trigger.md.
"""

from __future__ import annotations

from kubecdc.workers.testing import executions, manifests
from kubecdc.workers.testing.case import Case, Harness, ParameterCase

__all__ = ["CASES", "Case", "Harness", "ParameterCase"]

CASES: list[Case] = [*executions.CASES, *manifests.CASES]
