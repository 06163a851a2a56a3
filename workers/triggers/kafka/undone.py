"""Errors that end an execution before anything was sent."""

from __future__ import annotations

from kubecdc.workers.outcome import Failure, Retry


class Undone(Exception):
    """There is nothing to send, for the reason of the outcome."""

    def __init__(self, outcome: Retry | Failure) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
