"""The contracts of storage as a test suite, and faults behind the same contracts.

For the author of a back end: run every `Case` of `CASES` against it, or every `StoreCase` of `STORE_CASES` if it keeps
checkpoints only. For tests of the watcher and the workers: the wrappers of `storage.testing.faults`.
"""

from __future__ import annotations

from kubecdc.storage.testing import checkpoints, commits, deliveries, repetitions, state, subscriptions
from kubecdc.storage.testing.case import Case, Harness
from kubecdc.storage.testing.checkpoints import STORE_CASES, StoreCase, StoreHarness

__all__ = ["CASES", "STORE_CASES", "Case", "Harness", "StoreCase", "StoreHarness"]

CASES: list[Case] = [
    *commits.CASES,
    *checkpoints.CASES,
    *deliveries.CASES,
    *subscriptions.CASES,
    *repetitions.CASES,
    *state.CASES,
]
