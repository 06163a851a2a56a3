"""The contracts of storage as a test suite, and faults behind the same contracts.

For the author of a back end: run every `Case` of `CASES` against it, or every `StoreCase` of `STORE_CASES` if it keeps
checkpoints only. For tests of the watcher and the workers: the wrappers of `storage.testing.faults`.
"""

from __future__ import annotations

from storage.testing import again, checkpoints, commits, deliveries, state, subscriptions
from storage.testing.case import Case, Harness
from storage.testing.checkpoints import STORE_CASES, StoreCase, StoreHarness

__all__ = ["CASES", "STORE_CASES", "Case", "Harness", "StoreCase", "StoreHarness"]

CASES: list[Case] = [
    *commits.CASES,
    *checkpoints.CASES,
    *deliveries.CASES,
    *subscriptions.CASES,
    *again.CASES,
    *state.CASES,
]
