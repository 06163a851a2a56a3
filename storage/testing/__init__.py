"""The contracts of storage as a test suite, and fault injection behind the same contracts.

Authors of a back end run every `Case` of `CASES` against it, or every `StoreCase` of `STORE_CASES` if it keeps only
checkpoints. Tests of the watcher and the workers use the wrappers of `storage.testing.fault_injection`.
"""

from __future__ import annotations

from kubecdc.storage.testing import (
    checkpoints,
    commits,
    dead_letters_and_replay,
    deliveries,
    leadership,
    state,
    subscriptions,
)
from kubecdc.storage.testing.case import Case, Harness
from kubecdc.storage.testing.checkpoints import STORE_CASES, StoreCase, StoreHarness

__all__ = ["CASES", "STORE_CASES", "Case", "Harness", "StoreCase", "StoreHarness"]

CASES: list[Case] = [
    *commits.CASES,
    *leadership.CASES,
    *checkpoints.CASES,
    *deliveries.CASES,
    *subscriptions.CASES,
    *dead_letters_and_replay.CASES,
    *state.CASES,
]
