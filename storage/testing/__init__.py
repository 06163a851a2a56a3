"""The contracts of storage as a test suite, and faults behind the same contracts.

For the author of a back end: run every `Case` of `CASES` against it. For tests of the watcher and the workers: the
wrappers of `storage.testing.faults`.
"""

from __future__ import annotations

from storage.testing import again, commits, deliveries, subscriptions
from storage.testing.case import Case, Harness

__all__ = ["CASES", "Case", "Harness"]

CASES: list[Case] = [*commits.CASES, *deliveries.CASES, *subscriptions.CASES, *again.CASES]
