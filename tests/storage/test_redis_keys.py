"""The keys of a bus on Redis are described where somebody who changes them looks."""

from __future__ import annotations

import re
from pathlib import Path

STORAGE = Path(__file__).parents[2] / "storage"
DESCRIBED = (STORAGE / "redis" / "README.md", STORAGE.parent / "docs" / "consumers.md")


def used() -> set[str]:
    """The keys that the scripts and the Python code build, without what follows a colon."""
    scripts = "".join(path.read_text() for at in ("redis", "redis_server") for path in (STORAGE / at).rglob("*.lua"))
    code = "".join(path.read_text() for at in ("redis", "redis_server") for path in (STORAGE / at).rglob("*.py"))
    keys = re.findall(r"p \.\. ':([a-z-]+)", scripts) + re.findall(r'keyed\(\s*"[A-Z]+", f?"([a-z-]+)', code)
    return set(keys) - {"nothing", "entry"}  # never stays; of format 1


def described() -> set[str]:
    rows = [line.split("|")[1] for page in DESCRIBED for line in page.read_text().splitlines() if line[:3] == "| `"]
    return {name for row in rows for name in re.findall(r"`(?:<prefix>:)?([a-z-]+)", row)}


def test_every_key_is_described() -> None:
    assert len(used()) > 25
    assert used() - described() == set()
