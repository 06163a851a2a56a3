"""The picture of docs/concepts.md, drawn: `make diagram` writes docs/concepts.svg."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "concepts.svg"
WIDTH, HEIGHT = 960, 372
INK, PALE, LINE = "#1f2933", "#f5f7fa", "#7b8794"
COLORS = {"web": "#2b6cb0", "db": "#b7791f"}
LANES = {
    "inventory/post": {"web": ["ADD", "UPDATE", "UPDATE"], "db": ["UPDATE"]},
    "audit/write": {"web": ["UPDATE"], "db": ["ADD", "UPDATE"]},
}


def text(
    x: float, y: float, words: str, *, size: int = 13, anchor: str = "start", color: str = INK, bold: bool = False
) -> str:
    look = f'font-size="{size}" text-anchor="{anchor}" fill="{color}"' + (' font-weight="600"' if bold else "")
    return f'<text x="{x:g}" y="{y:g}" {look}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str = "#ffffff", stroke: str = LINE) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}" stroke="{stroke}"/>'


def arrow(x1: float, y1: float, x2: float, y2: float, words: str = "") -> str:
    label = text((x1 + x2) / 2, min(y1, y2) - 7, words, size=12, anchor="middle") if words else ""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{INK}" marker-end="url(#head)"/>{label}'


def titled(x: float, y: float, width: float, height: float, title: str, under: str = "") -> Iterator[str]:
    yield box(x, y, width, height, PALE)
    yield text(x + 12, y + 22, title, size=14, bold=True)
    yield text(x + 12, y + 40, under, size=12, color="#52606d")


def lane(x: float, y: float, name: str, events: list[str]) -> Iterator[str]:
    """The events of an object from the right: the first one is the next to be delivered."""
    yield text(x, y + 16, name, size=12, color=COLORS[name])
    for place, kind in enumerate(events):
        left = x + 196 - 56 * place
        yield box(left, y, 52, 22, COLORS[name], COLORS[name])
        yield text(left + 26, y + 15, kind, size=10, anchor="middle", color="#ffffff")


def parts() -> Iterator[str]:
    yield from titled(16, 60, 132, 92, "API server", "of Kubernetes")
    yield from titled(216, 60, 150, 92, "watcher", "EventSource")
    yield text(228, 122, "an entry for a watch", size=12)
    yield text(228, 140, "one leads, in a term", size=12)
    yield arrow(148, 106, 214, 106, "changes")
    yield from titled(430, 16, 300, 340, "bus", "EventBus: a queue and a store")
    yield arrow(366, 106, 428, 106, "commit")
    yield box(446, 66, 268, 50)
    yield text(456, 87, "checkpoint", bold=True)
    yield text(456, 105, "position, inventory, term", size=12)
    yield from titled(784, 104, 160, 198, "workers", "Sensor: any number")
    for row, (name, lanes) in enumerate(LANES.items()):
        top = 128 + 92 * row
        yield box(446, top, 268, 82)
        yield text(456, top + 17, f"subscription {name}", size=12, bold=True)
        for place, (key, events) in enumerate(lanes.items()):
            yield from lane(456, top + 25 + 27 * place, key, events)
        yield arrow(714, top + 41, 792, top + 41, "delivery")
        yield box(794, top + 24, 140, 34)
        yield text(804, top + 46, ("http", "kafka")[row] + " trigger", size=12)
    yield box(446, 312, 268, 32)
    yield text(456, 333, "dead letters: given up, with the reason", size=12)
    yield text(16, 200, "A lane is a row of one color: the events", size=12, color="#52606d")
    yield text(16, 218, "of one object for one subscription, in order.", size=12, color="#52606d")
    yield text(16, 236, "The rightmost one is delivered next.", size=12, color="#52606d")


def drawn() -> str:
    """The whole file."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="system-ui, sans-serif" role="img" aria-label="From a change to its delivery">\n'
        '<defs><marker id="head" markerWidth="9" markerHeight="9" refX="8" refY="4" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>\n'
    )
    return head + "\n".join([box(0.5, 0.5, WIDTH - 1, HEIGHT - 1, "#ffffff", "#ffffff"), *parts()]) + "\n</svg>\n"


if __name__ == "__main__":
    FILE.write_text(drawn())
    print(f"wrote {FILE}")
