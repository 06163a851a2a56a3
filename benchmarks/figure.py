"""One line of the table: what kubecdc does, what a bare loop of the same work does, and what it ought to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Target:
    """A bound on kubecdc's own figure, or with ``of_ratio`` on how many times the bare one it is."""

    bound: float
    at_least: bool
    of_ratio: bool = False

    def met(self, ours: float, ratio: float) -> bool:
        value = ratio if self.of_ratio else ours
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {shown(self.bound)}{'x' if self.of_ratio else ''}"


@dataclass(frozen=True)
class Definition:
    """What is measured under a name. ``bare`` says in a few words what it is held against."""

    name: str
    unit: str
    target: Target
    bare: str


@dataclass(frozen=True)
class Figure:
    """What was measured: medians of the runs."""

    definition: Definition
    ours: float
    bare: float

    @classmethod
    def of(cls, definition: Definition, runs: Sequence[tuple[float, float]]) -> Figure:
        """The median of each side, of runs that alternated."""
        return cls(definition, median(ours for ours, _ in runs), median(bare for _, bare in runs))

    @property
    def ratio(self) -> float:
        """How many times the bare figure ours is."""
        return self.ours / self.bare if self.bare else 0.0

    @property
    def met(self) -> bool:
        return self.definition.target.met(self.ours, self.ratio)

    def record(self) -> dict[str, object]:
        """As it is written to the JSON file."""
        return {
            "name": self.definition.name,
            "unit": self.definition.unit,
            "ours": round(self.ours, 3),
            "bare": round(self.bare, 3),
            "ratio": round(self.ratio, 3),
            "target": str(self.definition.target),
            "met": self.met,
        }


def table(figures: Sequence[Figure]) -> str:
    """For people."""
    rows = [("name", "unit", "ours", "bare", "ratio", "target", "met", "bare is")]
    for figure in figures:
        of = figure.definition
        numbers = (shown(figure.ours), shown(figure.bare), f"{figure.ratio:.2f}x")
        rows.append((of.name, of.unit, *numbers, str(of.target), "yes" if figure.met else "NO", of.bare))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def shown(number: float) -> str:
    """Three digits that count, or all before the point."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
