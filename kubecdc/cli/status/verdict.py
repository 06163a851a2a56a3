"""Verdicts: how something is, why, and which command to run next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from kubecdc.cli.output import Row, View

VIEW = View(
    ("verdict", "name", "behind", "pending", "rate_in", "rate_out", "dead"),
    ("by", "position", "gap", "audit", "paused", "partitions", "bus"),
    "the manifests have nothing to show",
    notes=("cause",),
    commands=("next",),
    headings={"rate_in": "IN/S", "rate_out": "OUT/S"},
)


class Verdict(StrEnum):
    """How something is, the worst first."""

    BLOCKED = "blocked"  # nothing goes on until somebody acts, or what is away comes back
    FAILING = "failing"  # it does what it can, and events fail
    UNKNOWN = "unknown"  # nobody here can tell
    BEHIND = "behind"  # it goes on, late
    OK = "ok"
    IDLE = "idle"  # there is nothing to do

    @property
    def needs_person(self) -> bool:
        """Whether somebody has to look."""
        return self in {Verdict.BLOCKED, Verdict.FAILING}


SEVERITY = list(Verdict)


@dataclass(frozen=True)
class Finding:
    """One thing that was found. A cause has no number that changes with each look: those have columns."""

    verdict: Verdict
    cause: str = ""
    next: str = ""  # a command; one of kubecdc is completed with `-f`


def row(name: str, findings: Iterable[Finding], otherwise: Verdict, **fields: Any) -> Row:
    """The row of something: the worst verdict of what was found, all causes, and the command for the worst."""
    found = sorted(findings, key=lambda finding: SEVERITY.index(finding.verdict))
    worst = found[0] if found else Finding(otherwise)
    verdict = otherwise if worst.verdict is Verdict.OK else worst.verdict
    return {
        "name": name,
        "verdict": str(verdict),
        "needs_person": verdict.needs_person,
        "cause": "; ".join(dict.fromkeys(finding.cause for finding in found if finding.cause)),
        "next": next((finding.next for finding in found if finding.next), ""),
        **dict.fromkeys(column for column in (*VIEW.columns, *VIEW.wide) if column not in _OWN),
        **fields,
    }


_OWN = {"name", "verdict"}


def severity(row: Row) -> int:
    """For sorting rows, the worst first."""
    return SEVERITY.index(Verdict(row["verdict"]))


def seconds(value: float | None) -> timedelta | None:
    """A duration, for rows."""
    return None if value is None else timedelta(seconds=round(max(0.0, value)))
